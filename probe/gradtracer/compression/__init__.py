"""From a trained model to a smaller one whose quality was measured.

`recipe_file.py` and `row_set.py` read and write the recipe; the types are in `gradtracer_schemas`.
"""
