"""A server with OpenAI's chat completions that answers each request after a fixed time.

python -m bench.slow_server SECONDS     prints its port, and runs until it is stopped
"""

from __future__ import annotations

import asyncio
import json
import sys

_USAGE = {"prompt_tokens": 500, "completion_tokens": 2, "total_tokens": 502}
_CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done."}}
_BODY = json.dumps(
    {"id": "x", "object": "chat.completion", "created": 0, "model": "any", "choices": [_CHOICE], "usage": _USAGE}
).encode()
_HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n".encode()


async def serve(seconds: float) -> None:
    """Answer every request with the same short text, `seconds` after it was read."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
                await reader.readexactly(int(fields.get(b"content-length", b"0")))
                await asyncio.sleep(seconds)
                writer.write(_HEAD + _BODY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
