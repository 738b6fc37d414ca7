"""Frames of real clients and servers through `holdfast guard run`, over pipes."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

POLICY = """
policy: trial
revision: 1
owner: The tester
agents: [clerk]
rules:
  - name: all
    allow: [t/echo, t/slow, t/big, t/noisy, t/number]
    where: {n: any, text: any}
    why: Trials.
"""
SERVER = Path(__file__).with_name("trial_server.py")
LARGE = 1234567890123456789


class Relay:
    """A running relay; answers are kept by id, so that each test reads its own."""

    def __init__(self, folder: Path) -> None:
        policy = folder / "policy.yaml"
        policy.write_text(POLICY, encoding="utf-8")
        command = [sys.executable, "-m", "holdfast.cli.main", "guard", "run", "--policy", str(policy)]
        command += ["--server", "t", "--agent", "clerk", "--state", str(folder / "state")]
        command += ["--", sys.executable, str(SERVER)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        self.ask(0, "initialize", client, seconds=60)
        self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.put(json.loads(line))

    def tell(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(frame) + "\n")
        self.process.stdin.flush()

    def ask(self, number: int, method: str, params: dict[str, Any], seconds: float = 20) -> dict[str, Any]:
        """The answer to a request, whatever id it bears."""
        self.tell({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return self.heard.get(timeout=seconds)

    def call(self, number: int, name: str, arguments: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return self.ask(number, "tools/call", {"name": name, "arguments": arguments or {}, **more})

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.listener.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    made = Relay(tmp_path_factory.mktemp("relay"))
    yield made
    made.close()


def text(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


def test_a_plain_call_passes(relay: Relay) -> None:
    assert text(relay.call(1, "echo", {"text": "a"})) == "echo done"


@pytest.mark.parametrize(
    ("number", "keys"),
    [
        (2, {"claudecode/toolUseId": "toolu_1", "progressToken": 2}),
        (3, {"vscode.conversationId": "c", "vscode.requestId": "r", "progressToken": "p"}),
    ],
)
def test_an_unknown_meta_key_passes(number: int, keys: dict[str, Any], relay: Relay) -> None:
    assert text(relay.call(number, "echo", {"text": "a"}, _meta=keys)) == "echo done"


def test_a_stray_line_on_the_servers_output_costs_no_answer(relay: Relay) -> None:
    assert text(relay.call(4, "noisy")) == "noisy done"


def test_a_large_integer_in_a_result_is_passed_on(relay: Relay) -> None:
    assert relay.call(5, "number")["result"]["structuredContent"] == {"id": LARGE}


def test_a_large_integer_in_an_argument_is_answered_by_its_id(relay: Relay) -> None:
    assert relay.call(6, "echo", {"n": LARGE})["id"] == 6


def test_half_a_character_in_an_argument_is_answered_by_its_id(relay: Relay) -> None:
    answer = relay.call(7, "echo", {"text": "\ud83d"})
    assert answer["id"] == 7
    assert "error" in answer


def test_a_large_result_fails_no_neighbour_and_is_not_called_denied(relay: Relay) -> None:
    relay.tell({"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "slow", "arguments": {}}})
    large = relay.call(9, "big")
    slow = relay.heard.get(timeout=20)
    answers = {answer["id"]: answer for answer in (large, slow)}
    assert text(answers[8]) == "slow done"
    told = json.dumps(answers[9])
    assert "x" * 1000 in told or "done, answer lost" in told
