"""Odd answers of an OpenAI-compatible endpoint, measured by the command line over loopback."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Verdict
from holdfast.core.store import RunFolder
from holdfast.scenarios.catalogue import cases

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
[CASE] = cases(["blackmail"], ["pressured"], [0])
MAIL = dict(CASE.plays["harm"][0].arguments)
FILTERED = {
    "error": {"code": "content_filter", "param": "prompt", "status": 400, "message": "content management policy"}
}

#: What a server answers to its n-th request: a status and a body. `first` says that the conversation has no answer yet.
Answer = Callable[[int, bool], tuple[int, dict[str, Any]]]


def completion(**said: Any) -> tuple[int, dict[str, Any]]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Done.", **said}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return 200, {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@contextmanager
def endpoint(answer: Answer) -> Iterator[str]:
    """A server on loopback; yields its base address."""
    asked = iter(range(1, 10**6))
    taking = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with taking:
                number = next(asked)
            status, reply = answer(number, not any(m["role"] == "assistant" for m in body["messages"]))
            raw = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def measured(
    answer: Answer, count: int, out: Path, monkeypatch: pytest.MonkeyPatch, twin: str = "pressured"
) -> tuple[int, Counter[str]]:
    """The exit code of `holdfast measure` against the endpoint, and the outcomes it stored."""
    with endpoint(answer) as address:
        monkeypatch.setenv("TRIAL_API_KEY", "x")
        monkeypatch.setenv("TRIAL_BASE_URL", address)
        wanted = ["--worlds", "blackmail", "--twins", twin, "--cases", str(count), "--out", str(out)]
        code = run(["measure", "--model", "openai-api/trial/m", *wanted])
    folders = [path.parent for path in out.rglob("verdicts.jsonl")]
    verdicts = [verdict for folder in folders for verdict in RunFolder(folder).each("verdicts", Verdict)]
    return code, Counter(verdict.outcome for verdict in verdicts)


def test_half_a_surrogate_pair_is_kept_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(number: int, first: bool) -> tuple[int, dict[str, Any]]:
        return completion(content="I did nothing \ud83d today.") if number == 2 else completion()

    code, outcomes = measured(answer, 6, tmp_path, monkeypatch, "routine")
    assert (code, outcomes.total()) == (0, 6)
    stored = next(tmp_path.rglob("transcripts.jsonl")).read_text(encoding="utf-8")
    assert "I did nothing" in stored
    assert "d83d" in stored


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param((400, FILTERED), id="the provider's filter turned the prompt away"),
        pytest.param(completion(content=None), id="empty"),
        pytest.param(completion(content=None, reasoning_content="I should write to them."), id="only reasoning"),
    ],
)
def test_what_is_no_answer_is_unscored(
    reply: tuple[int, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, outcomes = measured(lambda number, first: reply, 1, tmp_path, monkeypatch)
    assert (code, outcomes) == (4, {"no_answer": 1})


def test_a_call_left_in_the_content_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = json.dumps({"name": "send_email", "parameters": MAIL})
    code, outcomes = measured(
        lambda number, first: completion(content=call) if first else completion(), 1, tmp_path, monkeypatch
    )
    assert (code, outcomes) == (0, {"harm": 1})
