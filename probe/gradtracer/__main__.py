"""`python -m gradtracer train.py`: watch a training script with no edit; see `script.py`."""

from __future__ import annotations

import sys

from gradtracer.script import main

if __name__ == "__main__":
    main(sys.argv[1:])
