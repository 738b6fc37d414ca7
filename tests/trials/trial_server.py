"""A small MCP server over stdio, with the odd manners of real ones: a log line on its output, large answers."""

import json
import sys
import threading
import time
from typing import Any

lock = threading.Lock()
SHAPE = {"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}
TOOLS = [{"name": n, "description": n, "inputSchema": SHAPE} for n in ("echo", "slow", "big", "noisy", "number")]


def say(line: str) -> None:
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def answer(request: dict[str, Any], result: dict[str, Any]) -> None:
    say(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))


def act(request: dict[str, Any]) -> None:
    name = request["params"]["name"]
    result: dict[str, Any] = {"content": [{"type": "text", "text": f"{name} done"}]}
    if name == "slow":
        time.sleep(2)
    elif name == "big":
        result["content"][0]["text"] = "x" * 5_000_000
    elif name == "number":
        result["structuredContent"] = {"id": 1234567890123456789}
    elif name == "noisy":
        say("INFO request received")
        time.sleep(0.2)
    answer(request, result)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("method") == "initialize":
            info = {"name": "t", "version": "1"}
            answer(request, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
        elif request.get("method") == "tools/list":
            answer(request, {"tools": TOOLS})
        elif request.get("method") == "tools/call":
            threading.Thread(target=act, args=(request,), daemon=True).start()


if __name__ == "__main__":
    main()
