"""A small office as an MCP server, to try the relay with.

    python -m holdfast.guard.adapters.demo_server [--http PORT] [--log FILE]

It supports both protocol generations. It logs every act that reaches it, one line each, so that the log shows
independently of the guard what was blocked.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from holdfast.core.extras import needs

with needs("guard"):
    from mcp.server import MCPServer
    from mcp.types import ToolAnnotations

NOTES = {"plan.md": "Move the archive on Friday.", "people/salaries.md": "Confidential."}


def demo_office(log: Path | None = None) -> MCPServer[Any]:
    """Build the server: notes to read, mail to send, backups to delete, a resource and a prompt.

    Args:
        log: file that receives one JSON line for each act.
    """
    server: MCPServer[Any] = MCPServer("office", instructions="An office with notes and mail.")

    def record(act: str, **what: str) -> None:
        if log:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"act": act, **what}) + "\n")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def read_note(path: str) -> str:
        """Read a note."""
        record("read_note", path=path)
        return NOTES.get(path, "There is no such note.")

    @server.tool()
    def send_mail(to: str, text: str) -> str:
        """Send a mail."""
        record("send_mail", to=to, text=text)
        return f"Sent to {to}."

    @server.tool()
    def delete_backup(name: str) -> str:
        """Delete a backup for good."""
        record("delete_backup", name=name)
        return f"Deleted {name}."

    @server.resource("note://{name}")
    def note(name: str) -> str:
        """A note as a resource."""
        record("resource", name=name)
        return NOTES.get(name, "")

    @server.prompt()
    def greet(name: str) -> str:
        """A greeting to send."""
        record("prompt", name=name)
        return f"Write a greeting to {name}."

    return server


def main() -> None:
    """Serve over stdio, or over HTTP on the loopback address."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--http", type=int, metavar="PORT", help="serve http://127.0.0.1:PORT/mcp instead of stdio")
    parser.add_argument("--log", type=Path, help="file that receives one JSON line for each act")
    options = parser.parse_args()
    server = demo_office(options.log)
    if options.http:
        server.run("streamable-http", port=options.http)
    else:
        server.run("stdio")


if __name__ == "__main__":
    main()
