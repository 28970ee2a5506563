"""`make demo` does what README says it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_prints_findings_by_line_and_the_first_fix_as_a_patch(tmp_path: Path) -> None:
    project = tmp_path / "checkout"
    shutil.copytree(EXAMPLES, project / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pyproject.toml").write_text("")
    done = subprocess.run(
        [sys.executable, str(project / "examples" / "demo.py"), "--epochs", "12"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"GRADTRACER_OFFLINE": "1", "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (project / "examples" / "movielens_mf.py").read_text().splitlines()
    for table in ("user_emb", "item_emb"):
        number = next(n for n, line in enumerate(lines, 1) if f"self.{table} = nn" in line)
        assert f"examples/movielens_mf.py:{number}:25 REPRESENTATION_COLLAPSE" in done.stdout
    assert "first proposed fix, for REPRESENTATION_COLLAPSE: Lower weight_decay" in done.stdout
    assert "+++ b/examples/movielens_mf.py" in done.stdout
    assert "NDCG@10" in done.stdout
