"""What the client said it can do, resolved once at `initialize`.

Features ask this struct, never the raw capabilities: every default lives here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from lsprotocol import types
from pygls.capabilities import get_capability


@dataclass(frozen=True)
class ClientSupport:
    """The client's abilities that change what the server sends."""

    markdown_hover: bool = False
    """Hovers may be markdown; else they are plain text."""
    diagnostic_data: bool = False
    """The client hands `Diagnostic.data` back with a code action request."""
    diagnostic_related: bool = False
    """Diagnostics may name other places."""
    diagnostic_tags: bool = False
    """The client fades what a diagnostic says is unnecessary."""
    code_description: bool = False
    """The code of a diagnostic may be a link."""
    pull_diagnostics: bool = False
    """The client asks about documents itself, and can be told to ask again."""
    refreshes_hints: bool = False
    """The client can be told that inlay hints have changed."""
    refreshes_lenses: bool = False
    """The client can be told that code lenses have changed."""
    text_document_content: bool = False
    """The client opens documents whose text the server has."""
    show_document: bool = False
    """The server may have a document shown."""
    applies_edits: bool = False
    """The server may have an edit made."""
    status: bool = False
    """The client shows `gradtracer/status`: `experimental.gradtracer.status` is true."""
    code_action_literals: bool = False
    """Code actions may be more than commands."""
    code_action_preferred: bool = False
    """`isPreferred` means something to the client."""
    code_action_disabled: bool = False
    """The client shows why an action cannot be applied."""
    code_action_resolves_edit: bool = False
    """The edit of a code action may come later, by `codeAction/resolve`."""
    document_changes: bool = False
    """Edits may name the version of the text they are for."""
    change_annotations: bool = False
    """Edits may say what they are for, and ask to be confirmed."""
    work_done_progress: bool = False
    """The server may open a progress report."""
    configuration: bool = False
    """The server may ask for settings."""
    watches_files: bool = False
    """The server may ask the client to watch files."""

    @classmethod
    def of(cls, client: types.ClientCapabilities) -> ClientSupport:
        """Read the capabilities; what is absent is not supported."""
        formats = get_capability(client, "text_document.hover.content_format") or []
        resolves = (
            get_capability(client, "text_document.code_action.resolve_support.properties") or []
        )
        action_data = get_capability(client, "text_document.code_action.data_support", False)
        literals = get_capability(client, "text_document.code_action.code_action_literal_support")
        tags = get_capability(client, "text_document.publish_diagnostics.tag_support.value_set")
        return cls(
            markdown_hover=types.MarkupKind.Markdown in formats,
            diagnostic_data=get_capability(
                client, "text_document.publish_diagnostics.data_support", False
            ),
            diagnostic_related=get_capability(
                client, "text_document.publish_diagnostics.related_information", False
            ),
            diagnostic_tags=types.DiagnosticTag.Unnecessary in (tags or ()),
            code_description=get_capability(
                client, "text_document.publish_diagnostics.code_description_support", False
            ),
            pull_diagnostics=get_capability(client, "text_document.diagnostic") is not None
            and get_capability(client, "workspace.diagnostics.refresh_support", False),
            refreshes_hints=get_capability(client, "workspace.inlay_hint.refresh_support", False),
            refreshes_lenses=get_capability(client, "workspace.code_lens.refresh_support", False),
            text_document_content=get_capability(client, "workspace.text_document_content")
            is not None,
            show_document=get_capability(client, "window.show_document.support", False),
            applies_edits=get_capability(client, "workspace.apply_edit", False),
            status=_wants_status(client.experimental),
            code_action_literals=literals is not None,
            code_action_preferred=get_capability(
                client, "text_document.code_action.is_preferred_support", False
            ),
            code_action_disabled=get_capability(
                client, "text_document.code_action.disabled_support", False
            ),
            code_action_resolves_edit="edit" in resolves and action_data,
            document_changes=get_capability(
                client, "workspace.workspace_edit.document_changes", False
            ),
            change_annotations=get_capability(
                client, "workspace.workspace_edit.change_annotation_support"
            )
            is not None,
            work_done_progress=get_capability(client, "window.work_done_progress", False),
            configuration=get_capability(client, "workspace.configuration", False),
            watches_files=get_capability(
                client, "workspace.did_change_watched_files.dynamic_registration", False
            ),
        )


def _wants_status(experimental: object) -> bool:
    """`{"gradtracer": {"status": true}}`, as a mapping or an object of pygls' making."""
    found: object = experimental
    for name in ("gradtracer", "status"):
        if isinstance(found, dict):
            found = cast("dict[str, object]", found).get(name)
        else:
            found = getattr(found, name, None)
    return found is True
