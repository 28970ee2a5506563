"""`python -m gradtracer.compression REQUEST`: see `checkpoint.py`."""

from __future__ import annotations

import sys

from gradtracer.compression.checkpoint import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
