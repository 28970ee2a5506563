"""Makes the pictures of the READMEs and the walkthrough from what these tests saw last.

`make vscode-screenshots` runs the tests and then this. Of each picture 128 colours are kept, which
a dark editor does not miss: the package stays small.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from workbench import ARTEFACTS

MEDIA = Path(__file__).parents[3] / "client-vscode" / "media" / "walkthrough"
"""A page of the walkthrough may show what lies beside it and nothing else."""
COLOURS = 128
PICTURES = {
    "hover": "live_training_is_seen_understood_and_fixed/*-hover.png",
    "fixes": "live_training_is_seen_understood_and_fixed/*-fixes.png",
    "inspector": "runs_are_listed_inspected_compared_and_deleted/*-inspector.png",
    "recipe": "a_recipe_is_applied_safe_fixes_are_made_and_a_script_is_run/*-recipe.png",
}


def main() -> int:
    """Write each picture; the exit status."""
    for name, pattern in PICTURES.items():
        seen = sorted(ARTEFACTS.glob(pattern), key=lambda path: path.stat().st_mtime)
        if not seen:
            sys.stderr.write(f"no {pattern} in {ARTEFACTS}: run pytest tests/e2e/vscode first\n")
            return 1
        with Image.open(seen[-1]) as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(MEDIA / f"{name}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
