"""A scripted editor for each test, and a check that its server leaves in peace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from lsp.editor import Editor


@pytest_asyncio.fixture
async def editor() -> AsyncIterator[Editor]:
    """An editor that the test starts; its server must say goodbye without a complaint."""
    editor = Editor()
    yield editor
    if editor.client._server is not None:
        assert await editor.quit() == 0
        assert editor.client.messages == [], "no popup may ever be shown"
