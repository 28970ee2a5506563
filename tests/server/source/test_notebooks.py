"""A cell's text is put back into the file, and every other byte of it stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtracer_server.source.notebooks import cell_path, code_cells, file_of, with_cell

LAYOUT = """{
 "metadata": {"kernelspec": {"name": "python3"},  "b":1e2, "a": "\\u00e9\\/"},
 "cells": [
  {"cell_type": "markdown", "source": ["# Study\\n", "of tables"]},
  {
   "source": [
    "import torch\\n",
    "\\u0023 caf\\u00e9\\n",
    "table = Embedding(10, 4)"
   ],
   "cell_type": "code", "outputs": [{"text": ["table = Embedding(10, 4)"]}]
  },
  {"cell_type": "code", "source": "x = '\\u00e9\\/'\\ny = 1"}
 ],
 "nbformat": 4
}
"""
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LINES = st.lists(st.text('ab"\\é\n\U0001d11e ', max_size=6)).map("".join)


def cells(content: str) -> dict[int, str]:
    return {each.number: each.text for each in code_cells(content)}


def test_code_cells_are_numbered_among_all() -> None:
    assert cells(LAYOUT) == {
        2: "import torch\n# café\ntable = Embedding(10, 4)",
        3: "x = 'é/'\ny = 1",
    }


def test_a_changed_line_is_written_and_no_other() -> None:
    after = with_cell(LAYOUT, 2, cells(LAYOUT)[2].replace("10", "11"))
    assert after == LAYOUT.replace('"table = Embedding(10, 4)"\n', '"table = Embedding(11, 4)"\n')


def test_new_lines_are_strings_of_their_own() -> None:
    after = with_cell(LAYOUT, 2, "import torch\nimport os\n# café\ntable = Embedding(10, 4)\ny = 1")
    expected = LAYOUT.replace(
        '    "import torch\\n",\n', '    "import torch\\n",\n    "import os\\n",\n'
    ).replace(
        '"table = Embedding(10, 4)"\n   ],', '"table = Embedding(10, 4)\\n",\n    "y = 1"\n   ],'
    )
    assert after == expected


def test_of_one_string_only_the_changed_characters_are_written() -> None:
    after = with_cell(LAYOUT, 3, "x = 'é/'\nyy = 1")
    assert after == LAYOUT.replace("\\ny = 1", "\\nyy = 1")


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "{", "[" * 100_000),
        *('{"cells": 3}', '{"cells": [3]}', '{"cells": ['),
        '{"cells": [{"cell_type": "code"}]}',
        '{"cells": [{"cell_type": "code", "source": [3]}]}',
    ],
)
def test_what_is_no_notebook_has_no_cells(content: str) -> None:
    assert code_cells(content) == []


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert cells("\ufeff" + LAYOUT) == cells(LAYOUT)


@given(st.lists(st.tuples(st.sampled_from(["code", "markdown"]), LINES, st.booleans())), st.data())
def test_any_text_is_put_back_and_the_rest_stays(
    made: list[tuple[str, str, bool]], data: st.DataObject
) -> None:
    content = json.dumps(
        {"cells": [cell(*each) for each in made], "end": "é"},
        ensure_ascii=data.draw(st.booleans()),
        indent=data.draw(st.sampled_from([None, 1])),
    )
    found = code_cells(content)
    assert [each.text for each in found] == [text for kind, text, _ in made if kind == "code"]
    for each in found:
        text = data.draw(st.one_of(LINES, TEXTS))
        after = with_cell(content, each.number, text)
        expected = json.loads(content)
        said = expected["cells"][each.number - 1]
        got = json.loads(after)
        assert "".join(got["cells"][each.number - 1]["source"]) == text
        said["source"] = got["cells"][each.number - 1]["source"]
        assert got == expected
        assert after.startswith(content[: each.source.start])
        assert after.endswith(content[each.source.end :])
        assert with_cell(content, each.number, each.text) == content


def cell(kind: str, text: str, listed: bool) -> dict[str, Any]:
    return {"cell_type": kind, "source": text.splitlines(keepends=True) if listed else text}


def test_a_cell_of_a_file_has_a_name_that_tells_both() -> None:
    notebook = Path("/study/a b.ipynb")
    assert file_of(cell_path(notebook, 12)) == (notebook, 12)
    assert file_of(notebook) == (notebook, None)
    assert file_of(Path("/study/a.py")) == (Path("/study/a.py"), None)
