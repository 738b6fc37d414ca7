"""An MCP server over stdio that tries to get out of its sandbox, and says what it got."""

import json
import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

SHAPE = {"type": "object", "properties": {"what": {"type": "string"}, "where": {"type": "string"}}}


def attempt(what: str, where: str) -> str:
    if what == "read":
        return Path(where).read_text()
    if what == "list":
        return " ".join(sorted(os.listdir(where)))
    if what == "write":
        Path(where).write_text("escaped")
    elif what == "link":
        link = Path(where) / "link"
        link.unlink(missing_ok=True)
        link.symlink_to("/etc/shadow")
        return link.read_text()
    elif what == "connect":
        host, _, port = where.rpartition(":")
        socket.create_connection((host, int(port)), 2).close()
    elif what == "fetch":
        with urllib.request.urlopen(where, timeout=5) as answer:
            return str(answer.read().decode())
    elif what == "variable":
        return os.environ[where]
    elif what == "kill":
        os.kill(int(where), 9)
    return "done"


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        result: dict[str, Any] = {"tools": [{"name": "attempt", "inputSchema": SHAPE}]}
        if request.get("method") == "initialize":
            info = {"name": "escape", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        elif request.get("method") == "tools/call":
            try:
                text = attempt(**request["params"]["arguments"])
            except Exception as error:
                text = f"failed: {type(error).__name__}"
            result = {"content": [{"type": "text", "text": text}]}
        if "id" in request:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
