"""A server of the Model Context Protocol that says what it expected of a call and what came.

The protocol's own library passes over arguments that a tool does not have: a fix that is named by a
misspelt argument would then be another one than was meant.
"""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError

from gradtracer_server.headless.nearest import meant


class AgentServer(MCPServer[Any]):
    """Refuses names that are none of its own."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> Any:
        """The answer of a tool.

        Raises:
            ToolError: there is no such tool, or it does not take these arguments.
        """
        tools = {tool.name: tool for tool in await self.list_tools()}
        if name not in tools:
            known = ", ".join(tools)
            raise ToolError(f"expected a tool, got {name[:80]!r}; {meant(name, tools, known)}")
        takes: dict[str, Any] = tools[name].input_schema.get("properties", {})
        for argument in arguments:
            if argument not in takes:
                hint = meant(argument, takes, f"it takes {', '.join(takes)}")
                raise ToolError(f"{name} takes no argument {argument[:80]!r}; {hint}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(f"{name}: {_complaint(error.__cause__)}") from error.__cause__
            raise


def _complaint(error: ValidationError) -> str:
    """`timeout_seconds: input should be less than or equal to 600, got 1000`."""
    parts: list[str] = []
    for each in error.errors():
        where = ".".join(str(part) for part in each["loc"])
        if each["type"] == "missing":
            parts.append(f"expected the argument {where}, got none")
        else:
            what = each["msg"][:1].lower() + each["msg"][1:]
            parts.append(f"{where}: {what}, got {each['input']!r:.80}")
    return "; ".join(parts)
