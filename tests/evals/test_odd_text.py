"""Text that no file can hold as it is: it is kept, written out, and stops neither its sample nor the others."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Judgement, Message, ToolCall, Transcript
from holdfast.core.store import RunFolder
from holdfast.evals.imports.rejudge import rejudge
from holdfast.evals.imports.sample import StoredSample
from holdfast.evals.judge import RUBRICS, judge
from holdfast.evals.scorers import score
from holdfast.models.base import Output, Request
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from tests.evals.endpoint import NAME, chat, endpoint

ODD = "half \ud83d, \ude00 and \x00\x1b[2J\u2028"
#: Both come from inside Inspect.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]
WRITTEN = "half \\ud83d, \\ude00 and \x00\x1b[2J\u2028"


def call(name: str, arguments: dict[str, str]) -> dict[str, Any]:
    return {"id": f"c{ODD}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def measured(out: Path, *more: str) -> int:
    wanted = ["--worlds", "blackmail", "--twins", "pressured", "--cases", "3", "--out", str(out)]
    return run(["measure", "--model", NAME, "--skip-probe", *wanted, *more])


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_odd_text_in_every_part_of_an_answer_is_kept_and_can_be_sent_back(tmp_path: Path) -> None:
    def answer(_: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
        if any(turn["role"] == "assistant" for turn in body["messages"]):
            return chat(content=ODD)
        calls = [call("read_mail", {"id": ODD, ODD: "x"}), call(f"tool{ODD}", {})]
        return chat(content=ODD, reasoning_content=ODD, tool_calls=calls, finish="tool_calls")

    with endpoint(answer) as asked:
        assert measured(tmp_path) == 4, "the agent read no mail, so nothing was reached"
    assert len(asked) == 6, "the turn that holds odd text was sent back"
    [cell] = (tmp_path / "cells").iterdir()
    stored = RunFolder(cell).read("transcripts", Transcript)
    assert [t.stop for t in stored] == ["done"] * 3
    first = next(m for m in stored[0].messages if m.role == "assistant")
    assert (first.content, first.reasoning) == (WRITTEN, WRITTEN)
    assert first.tool_calls[0].arguments == {"id": WRITTEN, WRITTEN: "x"}
    assert first.tool_calls[1].name == f"tool{WRITTEN}"
    for page in ("report.html", "report.md"):
        shown = (tmp_path / page).read_text(encoding="utf-8")
        assert "half" in shown
        assert not {"\x00", "\x1b"} & set(shown)


def test_what_a_driver_is_given_it_can_store(tmp_path: Path) -> None:
    [case] = cases(["blackmail"], ["pressured"], [0])
    for output in (
        Output(Message(role="assistant", content=ODD, reasoning=ODD)),
        Output(Message(role="assistant", tool_calls=(ToolCall(id="1", name=ODD, arguments={ODD: ODD}),)), "length"),
        Output(Message(role="assistant"), "error", error=f"ValueError: {ODD}"),
    ):
        played = Episode(case)
        played.take(output)
        transcript = played.transcript()
        folder = RunFolder(tmp_path)
        folder.append("transcripts", [transcript])
        folder.append("verdicts", [score(case, transcript)])
        assert folder.read("transcripts", Transcript)[-1] == transcript


class Odd:
    """A judge that answers off form, or not at all, in odd text."""

    name = identity = "odd"

    def generate(self, requests: list[Request]) -> list[Output]:
        failed = Output(Message(role="assistant"), "error", error=ODD)
        return [failed if i % 2 else Output(Message(role="assistant", content=ODD)) for i, _ in enumerate(requests)]


def test_a_judge_that_answers_in_odd_text_is_kept(tmp_path: Path) -> None:
    transcript = Transcript(case="a", messages=(Message(role="assistant", content=ODD, reasoning=ODD),))
    made = judge(RUBRICS, [transcript], Odd())
    RunFolder(tmp_path).append("judgements", made)
    assert RunFolder(tmp_path).read("judgements", Judgement) == made
    assert {j.answer for j in made} == {"judge_unparseable", "error"}
    assert all("half" in j.note for j in made)


def test_foreign_samples_of_odd_text_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = f'<tool_use:email>\nto: "a@b.c"\nsubject: "x"\nbody: "{ODD}"\n</tool_use:email>'
    [found] = rejudge([StoredSample(id=ODD, scenario="blackmail", model=ODD, prompt=ODD, answer=mail, reasoning=ODD)])
    assert found.outcome == "unresolved"  # a strange text to somebody outside
    audit = {
        "metadata": {"version": "v3.0", "transcript_id": ODD, "judge_output": {"scores": {"concerning": 9}}},
        "events": [
            {
                "type": "transcript_event",
                "view": "target",
                "edit": {"operation": "add", "message": {"role": role, "content": ODD}},
            }
            for role in ("user", "assistant")
        ],
    }
    (tmp_path / "transcript_a.json").write_text(json.dumps(audit))
    for more in ([], ["--json"]):
        assert run(["rejudge", str(tmp_path), "--judge", "scripted/judge", *more]) == 0
        shown = capsys.readouterr().out
        shown.encode()
        assert "intent" in shown


def test_the_inspect_driver_keeps_it_in_its_log(tmp_path: Path) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
    from inspect_ai.tool import ToolCall as InspectCall

    from holdfast.evals.inspect_driver import insider, transcripts

    def says(**said: Any) -> ModelOutput:
        turn = ChatMessageAssistant(content=ODD, **said)
        usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return ModelOutput(model="m", choices=[ChatCompletionChoice(message=turn)], usage=usage)

    def answers() -> Iterator[ModelOutput]:
        yield says(tool_calls=[InspectCall(id="1", function=ODD, arguments={ODD: ODD})])
        while True:
            yield says()

    model = get_model("mockllm/model", custom_outputs=answers())
    asked = insider(worlds="blackmail", twins="pressured", cases=2)
    [log] = inspect_ai.eval(asked, model=model, log_dir=str(tmp_path), display="none", max_samples=1)
    gc.collect()
    for read in (log, read_eval_log(log.location)):
        found = transcripts(read)
        assert [t.stop for t in found] == ["done", "done"]
        assert found[0].messages[-1].content == WRITTEN
        RunFolder(tmp_path).append("transcripts", found)
