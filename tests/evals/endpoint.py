"""A bare HTTP server on the loopback that answers a chat endpoint with whatever bytes a test gives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

#: The number of a request (from 1) and its body → status, content type and body; None closes the connection unanswered.
Answer = Callable[[int, dict[str, Any]], tuple[int, str, bytes] | None]
#: The model's name for `holdfast`, once `endpoint` has set the environment.
NAME = "openai-api/bare/m"


def chat(**said: Any) -> tuple[int, str, bytes]:
    """A sound answer of the chat completions API; `said` goes into its message, but for `finish` and `error`."""
    finish = said.pop("finish", "stop")
    message = {"role": "assistant", "content": "Done.", **said}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
    return as_json(200, {**body, "choices": [{"index": 0, "finish_reason": finish, "message": message}]})


def as_json(status: int, body: Any) -> tuple[int, str, bytes]:
    """A JSON answer; lone surrogates are escaped, as most servers do."""
    return status, "application/json", json.dumps(body).encode()


@contextmanager
def endpoint(answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """Serve `answer` and lead `NAME` to it, by `BARE_BASE_URL`; yields the bodies of the requests so far."""
    asked: list[dict[str, Any]] = []
    taking = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with taking:
                asked.append(body)
                number = len(asked)
            if (reply := answer(number, body)) is None:
                self.close_connection = True
                return
            status, kind, raw = reply
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BARE_API_KEY", "none")
            patch.setenv("BARE_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
            yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
