"""Parts of `validate_autofix.py`: data, models, training, arms, statistics, table and plot."""
