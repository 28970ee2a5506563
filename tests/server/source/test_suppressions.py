from __future__ import annotations

import pytest

from gradtracer_schemas import SourceFrame
from gradtracer_server.source.anchors import resolve
from gradtracer_server.source.index import SourceText
from gradtracer_server.source.suppressions import suppressed


def is_suppressed(code: str, type: str = "DEAD_EMBEDDINGS") -> bool:
    source = SourceText.parse(code)
    statement = next(s for s in source.statements if b"Embedding" in source.bytes_of(s))
    frame = SourceFrame(
        file="/a.py",
        start_line=statement.line + 1,
        start_column=0,
        end_line=statement.line + 1,
        end_column=0,
        qualname=statement.scope,
    )
    return suppressed(source, resolve(frame, source), type)


@pytest.mark.parametrize(
    "code",
    [
        "e = nn.Embedding(1, 2)  # gradtracer: ignore[DEAD_EMBEDDINGS]\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignore\n",
        "e = nn.Embedding(1, 2)  #gradtracer:ignore [ OTHER , DEAD_EMBEDDINGS ]\n",
        "e = nn.Embedding(1, 2)  # noqa: E501  # gradtracer: ignore[DEAD_EMBEDDINGS] rare ids\n",
        "e = nn.Embedding(  # gradtracer: ignore[DEAD_EMBEDDINGS]\n    1, 2\n)\n",
        "e = nn.Embedding(\n    1, 2\n)  # gradtracer: ignore[DEAD_EMBEDDINGS]\n",
        'e = nn.Embedding(1, name="""\n""")  # gradtracer: ignore[DEAD_EMBEDDINGS]\n',
        "for e in [nn.Embedding(1, 2)]:  # gradtracer: ignore[DEAD_EMBEDDINGS]\n    pass\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignore[DEAD_EMBEDDINGS]\r\n",
        "é = 'é'; e = nn.Embedding(1, 2)  # gradtracer: ignore[DEAD_EMBEDDINGS]",
    ],
)
def test_a_comment_where_the_statement_begins_or_ends_silences_its_type(code: str) -> None:
    assert is_suppressed(code)


@pytest.mark.parametrize(
    "code",
    [
        "e = nn.Embedding(1, 2)\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignore[OTHER]\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignore[]\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignored\n",
        "e = nn.Embedding(1, 2)  # gradtracer: ignore-this\n",
        "# gradtracer: ignore[DEAD_EMBEDDINGS]\ne = nn.Embedding(1, 2)\n",
        "e = nn.Embedding(\n    1,  # gradtracer: ignore[DEAD_EMBEDDINGS]\n    2\n)\n",
        "e = nn.Embedding(1, name='# gradtracer: ignore[DEAD_EMBEDDINGS]')\n",
        'e = nn.Embedding(1, name="""\n# gradtracer: ignore[DEAD_EMBEDDINGS]""")\n',
        'e = nn.Embedding(1, 2); s = """# gradtracer: ignore[DEAD_EMBEDDINGS]\n"""\n',
        "for e in [nn.Embedding(1, 2)]:\n    pass  # gradtracer: ignore[DEAD_EMBEDDINGS]\n",
    ],
)
def test_anything_else_silences_nothing(code: str) -> None:
    assert not is_suppressed(code)
