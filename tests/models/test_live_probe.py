"""The probe of a served model: what the server loses is named with its remedy, and what works passes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from inspect_ai.model import GenerateConfig, ModelOutput

from holdfast.cli.main import run
from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolCall
from holdfast.evals.inspect_probe import InspectProbe
from holdfast.models.api import ApiModel
from holdfast.models.base import PROBE, Output, Request
from holdfast.models.live_probe import NOT_PROBED, SKIP, ProbedModel, live_probe, probe_with, refuse_faults
from holdfast.models.probe import FOLDED, TAGGED
from holdfast.models.registry import open_model
from holdfast.scenarios.catalogue import cases
from holdfast.study import wiring
from holdfast.study.plan import CellPlan
from tests.evals.endpoint import NAME, as_json, chat, endpoint

Captured = pytest.CaptureFixture[str]
CALL = Message(role="assistant", tool_calls=(ToolCall(id="1", name="find_animal", arguments={"burrow": "Heath"}),))
REFUSED = Output(Message(role="assistant"), "error", error="400: not supported")


def sound(request: Request) -> Output:
    """A model that calls the tool if it has one, and repeats what it sees of system message and result."""
    seen = " ".join(message.content for message in request.messages)
    if request.tools and not any(message.role == "tool" for message in request.messages):
        return Output(CALL)
    words = [word for word in ("wombat", "tapir") if word in seen]
    return Output(Message(role="assistant", content=f"It is {' and '.join(words)}."))


def without(role: str) -> Callable[[Request], Output]:
    """The sound model behind a server whose template drops the content of a role."""

    def send(request: Request) -> Output:
        output = sound(request)
        kept = [m if m.role != role else m.model_copy(update={"content": ""}) for m in request.messages]
        return output if output.message.tool_calls else sound(replace(request, messages=kept))

    return send


def failing(fails: Callable[[Request], bool], output: Output = REFUSED) -> Callable[[Request], Output]:
    return lambda request: output if fails(request) else sound(request)


class Behind:
    """A model that answers as a function does."""

    name = identity = "x/y"

    def __init__(self, send: Callable[[Request], Output]) -> None:
        self.send = send
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        self.requests += requests
        return [self.send(request) for request in requests]


def says(text: str, **more: Any) -> Callable[[Request], Output]:
    return lambda request: Output(Message(role="assistant", content=text, **more))


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("folded", [True, False])
def test_a_sound_server_passes(system: bool, tools: bool, folded: bool) -> None:
    model = Behind(sound)
    assert probe_with(model, live_probe(system=system, tools=tools, folded=folded)) == []
    assert len(model.requests) == (3 if tools else 1)
    assert all((request.messages[0].role == "system") == (system and not folded) for request in model.requests)


@pytest.mark.parametrize(
    ("send", "what", "remedy"),
    [
        (without("system"), "the system message: asked for a word", FOLDED),
        (without("tool"), "the tool result: asked for a word", TAGGED),
        (says("I would call find_animal."), "a tool call: asked for one, the model answered with text", TAGGED),
        (says("", unread="half a call"), "a tool call, which cannot be read: half a call", TAGGED),
        (failing(lambda r: bool(r.tools)), r"the tools, which the server refuses \(400: not supported\)", TAGGED),
        (failing(lambda r: r.messages[0].role == "system"), "the system message, which the server refuses", FOLDED),
        (failing(lambda r: r.messages[-1].role == "tool"), "a tool result, which is refused", TAGGED),
        (
            failing(lambda r: r.messages[-1].role == "user" and len(r.messages) > 2),
            "a second user message, which is refused",
            TAGGED,
        ),
        (lambda request: Output(Message(role="assistant"), "length"), "its answer was truncated", SKIP),
        (lambda request: Output(Message(role="assistant"), "refused"), "its answer was refused", SKIP),
        (
            lambda request: Output(
                CALL.model_copy(update={"tool_calls": (ToolCall(id="1", name="find_animal", arguments={}),)})
            ),
            "its name or argument did not arrive",
            TAGGED,
        ),
    ],
)
def test_what_a_server_loses_is_named_with_a_remedy(send: Callable[[Request], Output], what: str, remedy: str) -> None:
    faults = probe_with(Behind(send), live_probe(system=True, tools=True))
    with pytest.raises(ModelError, match=rf"x/y loses .*{what}.*{remedy}"):
        refuse_faults("x/y", faults)


def test_a_user_message_that_does_not_arrive_is_named() -> None:
    for send, faults in ((sound, 0), (without("user"), 1)):
        lost = probe_with(Behind(send), live_probe(system=False, tools=False))
        assert [fault.what.partition(":")[0] for fault in lost] == ["the user's message"] * faults


def test_a_probe_does_not_wait_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    model = open_model("openai/gpt-4o-mini", network=True)
    assert isinstance(model, ApiModel)
    model.use_batches()
    sent: list[tuple[str, bool]] = []

    async def record(request: Request, own: GenerateConfig, patience: float | None = None) -> Output:
        sent.append((request.case, bool(own.batch)))
        return Output(Message(role="assistant"))

    model._ask = record  # type: ignore[method-assign]
    for case in (PROBE, "other"):
        asyncio.run(model.ask(Request(case, [Message(role="user", content="?")])))
    assert sent == [(PROBE, False), ("other", True)]


@pytest.mark.parametrize("output", [REFUSED, replace(REFUSED, retry_after=0.0, down=True)])
def test_a_server_that_fails_whatever_it_is_asked_is_left_to_the_run(output: Output) -> None:
    assert probe_with(Behind(lambda request: output), live_probe(system=True, tools=True)) == []


def test_a_judge_that_does_not_see_its_rubric_decides_nothing() -> None:
    request = Request("c", [Message(role="user", content="?")])
    blind = Behind(without("system"))
    with pytest.raises(ModelError, match="x/y loses the system message"):
        ProbedModel(blind, served=True).generate([request])
    assert len(blind.requests) == 1
    seeing = Behind(sound)
    probed = ProbedModel(seeing, served=True)
    assert len(probed.generate([request])) == len(probed.generate([request])) == 1
    assert len(seeing.requests) == 3
    ProbedModel(blind, served=False).generate([request])


# --------------------------------------------------------------------------------------------- through `measure`


def served(number: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    """A server whose model holds the probe's conversation and does nothing in a case."""
    told = {message["role"]: message["content"] for message in body["messages"]}
    if "Technical check" not in json.dumps(body):
        return chat()
    if "tool" not in told and body.get("tools"):
        call = {"name": "find_animal", "arguments": json.dumps({"burrow": "heath"})}
        return chat(tool_calls=[{"id": "a", "type": "function", "function": call}], content="")
    return chat(content="tapir, wombat" if "wombat" in told.get("system", "") else "tapir")


def measured(answer: Callable[[int, dict[str, Any]], tuple[int, str, bytes]], out: Path, *more: str) -> int:
    """The exit code of `holdfast measure`; the number of requests goes to the file `requests`."""
    wanted = ["--worlds", "blackmail", "--twins", "routine", "--cases", "2", "--out", str(out / "run")]
    with endpoint(answer) as requests:
        code = run(["measure", "--model", NAME, *wanted, *more])
    (out / "requests").write_text(str(len(requests)))
    return code


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_a_run_is_probed_once_and_charged(tmp_path: Path, capsys: Captured) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f'[models."{NAME}"]\nin = 100000.0\nout = 0.0\n')
    code = measured(served, tmp_path, "--prices", str(prices), "--budget", "900usd")
    assert code in (0, 4)  # a model that does nothing may leave nothing scored
    assert (tmp_path / "requests").read_text() == str(3 + 2)
    # Each answer of the server counts one input token of $0.10.
    assert "spent $0.5000" in capsys.readouterr().out
    measured(served, tmp_path, "--prices", str(prices), "--budget", "900usd")
    assert (tmp_path / "requests").read_text() == "0"
    assert measured(served, tmp_path / "run", "--prices", str(prices), "--budget", "9usd") == 4
    assert "the budget of $9 is reached" in capsys.readouterr().err


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_a_server_that_drops_the_tools_stops_the_run_before_the_first_case(tmp_path: Path, capsys: Captured) -> None:
    assert measured(lambda number, body: chat(content="I have no tools."), tmp_path) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "loses a tool call: asked for one, the model answered with text" in error
    assert f"{TAGGED}, or, to go on without the probe, {SKIP}" in error
    assert (tmp_path / "requests").read_text() == "1"
    assert not (tmp_path / "run" / "summary.json").exists()
    spent = [json.loads(line) for line in (tmp_path / "run" / "spending.jsonl").read_text().splitlines()]
    assert [(line["read"], line["written"]) for line in spent] == [(1, 1)]


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_the_probe_is_skipped_by_a_flag_and_the_summary_says_so(tmp_path: Path) -> None:
    measured(lambda number, body: chat(content="I have no tools."), tmp_path, SKIP)
    assert (tmp_path / "requests").read_text() == "2"
    assert NOT_PROBED in json.loads((tmp_path / "run" / "summary.json").read_text())["limits"]
    refused = as_json(400, {"error": {"message": "no"}})
    assert measured(lambda number, body: refused, tmp_path / "run") == 4


class Inspected:
    """A model of Inspect that answers in words, whatever it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0

    def __str__(self) -> str:
        return self.name

    async def generate(self, *_: Any, **__: Any) -> ModelOutput:
        self.requests += 1
        return ModelOutput.from_content("m", "I have no tools.")


@pytest.mark.parametrize(
    ("name", "probe", "lost"),
    [("openai/x", None, True), ("openai/x", False, False), ("mockllm/x", None, False), ("mockllm/x", True, True)],
)
def test_a_model_of_inspect_is_probed_once_if_wanted(name: str, probe: bool | None, lost: bool) -> None:
    model, checked = Inspected(name), InspectProbe(probe)
    [case] = cases(["blackmail"], ["pressured"], [0])

    async def twice() -> list[str]:
        checks = (checked.check(cast(Any, model), case) for _ in range(2))
        return [str(outcome) for outcome in await asyncio.gather(*checks, return_exceptions=True) if outcome]

    errors = asyncio.run(twice())
    assert (len(errors), model.requests) == ((2, 1) if lost else (0, 0))
    assert all("loses a tool call" in error and "-T probe=false" in error for error in errors)


# ------------------------------------------------------------------------------------- judges and studies


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
@pytest.mark.parametrize(
    "command",
    [
        ["guard", "lint", "PROMPT", "--judge", NAME],
        ["teach", "audit", "CORPUS", "--judge", NAME, "--asked", "1"],
        ["teach", "check", "SET", "--judge", NAME, "--graded", "1"],
        ["judge", "calibrate", "--judge", NAME],
    ],
)
def test_every_command_probes_a_served_judge_first(command: list[str], tmp_path: Path, capsys: Captured) -> None:
    turn = {"role": "user", "content": "Hello there."}, {"role": "assistant", "content": "Hello to you."}
    texts = {"PROMPT": "Be kind.", "CORPUS": "The machine read the mail.\n\nThe end.\n"}
    texts["SET"] = json.dumps({"messages": turn})
    for name, text in texts.items():
        (tmp_path / name).with_suffix(".jsonl" if name == "SET" else ".txt").write_text(text)
    paths = {name: str((tmp_path / name).with_suffix(".jsonl" if name == "SET" else ".txt")) for name in texts}
    with endpoint(lambda number, body: chat(content="I see nothing.")) as requests:
        assert run([paths.get(word, word) for word in command]) == 2
    assert len(requests) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert (
        f"{NAME} loses the system message" in error
        and f"name another judge, or, to go on without the probe, {SKIP}" in error
    )


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_a_study_of_a_served_model_is_probed_before_its_first_case() -> None:
    played = cases(["blackmail"], ["routine"], [0])
    cell = CellPlan("base", None, (), "x")
    with endpoint(lambda number, body: chat(content="I have no tools.")) as requests:
        with pytest.raises(ModelError, match=f"{NAME} loses a tool call.*study file, or, .*{SKIP}"):
            list(wiring.play(cell, NAME, played))
        assert len(requests) == 1
        assert len(list(wiring.play(cell, NAME, played, skip_probe=True))) == 1
        assert len(requests) == 2
