import json
from pathlib import Path

import datasets
import pytest
import yaml

from holdfast.core.errors import InputError, ResultsError, StoreError
from holdfast.core.records import Example, Message, Provenance, RunCard, ToolCall, ToolSpec
from holdfast.core.store import RunFolder
from holdfast.data.export import FORMATS, export

MADE = Provenance(recipe="toy", teacher="toy", seed=0)
TOOLS = (ToolSpec(name="send", description="Sends.", parameters={"to": "whom"}),)


def turn(role: str, content: str = "", **more: object) -> Message:
    return Message.model_validate({"role": role, "content": content, **more})


def episode(name: str, arguments: dict[str, str], say: str = "done.") -> Example:
    call = ToolCall(id="1", name="send", arguments=arguments)
    messages = (
        turn("user", "do it"),
        turn("assistant", tool_calls=[call]),
        turn("tool", "sent", tool_call_id="1"),
        turn("assistant", say, reasoning="it was asked for"),
    )
    return Example(id=name, kind="chat", messages=messages, tools=TOOLS, provenance=MADE)


def chat(name: str, ask: str, say: str) -> Example:
    return Example(id=name, kind="chat", messages=(turn("user", ask), turn("assistant", say)), provenance=MADE)


def task(name: str) -> Example:
    reward = {"kind": "number", "answer": "4"}
    return Example(id=name, kind="chat", messages=(turn("user", "2+2?"),), reward=reward, provenance=MADE)


def document(name: str) -> Example:
    return Example(id=name, kind="document", text="A tale.", provenance=MADE)


ALL = [
    episode("a", {"to": "x"}),
    episode("b", {"file": "y", "n": "2"}),
    chat("c", "hi", "hello"),
    task("d"),
    document("e"),
]


def a_set(folder: Path, examples: list[Example] = ALL) -> Path:
    run = RunFolder(folder)
    run.append("examples", examples)
    run.finish(RunCard(key="k", kind="data", made="now", holdfast="0", code="0", inputs={}))
    return folder


def opened(folder: Path, cache: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", [f for f in FORMATS if f != "preference"])
def test_datasets_loads_every_export(form: str, kind: str, tmp_path: Path) -> None:
    done = export(a_set(tmp_path / "set"), tmp_path / "out", form, kind)  # type: ignore[arg-type]
    rows = opened(tmp_path / "out", tmp_path / "cache")
    assert len(rows) == done.rows == {"messages": 3, "prompt-completion": 3, "documents": 1, "rl": 1}[form]
    assert sum(done.left.values()) == len(ALL) - done.rows
    assert list((tmp_path / "out").glob("*.part")) == []


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_calls_keep_their_own_arguments(kind: str, tmp_path: Path) -> None:
    export(a_set(tmp_path / "set"), tmp_path / "out", "messages", kind)  # type: ignore[arg-type]
    rows = opened(tmp_path / "out", tmp_path / "cache")
    calls = [row["messages"][1]["tool_calls"][0]["function"]["arguments"] for row in rows if row["tools"]]
    assert [without_nulls(call) for call in calls] == [{"to": "x"}, {"file": "y", "n": "2"}]
    assert calls[0].keys() == {"to"}
    assert json.loads(rows[0]["tools"])[0]["function"]["name"] == "send"
    assert rows[0]["messages"][3]["reasoning_content"] == "it was asked for"


def test_a_chunk_without_calls_has_the_same_columns(tmp_path: Path) -> None:
    plain = [chat(f"p{n}", f"hi {n}", "hello") for n in range(1_001)]
    export(a_set(tmp_path / "set", [*plain, ALL[0]]), tmp_path / "out", "messages", "parquet")
    rows = opened(tmp_path / "out", tmp_path / "cache")
    assert len(rows) == 1_002 and rows[1_001]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"to": "x"}


def test_preferences_pair_answers_to_the_same_prompt(tmp_path: Path) -> None:
    better = a_set(
        tmp_path / "better", [chat("a", "one?", "yes."), chat("b", "two?", "same."), chat("c", "three?", "x")]
    )
    worse = a_set(
        tmp_path / "worse", [chat("d", "two?", "same."), chat("e", "one?", "no."), chat("f", "one?", "never.")]
    )
    done = export(better, tmp_path / "out", "preference", against=worse)
    assert done.left == {"both sets have the same answer": 1, "the prompt is not in the other set": 1}
    row = opened(tmp_path / "out", tmp_path / "cache")[0]
    said = [row[name][0]["content"] for name in ("prompt", "chosen", "rejected")]
    assert said == ["one?", "yes.", "no."]


@pytest.mark.slow  # importing TRL takes seconds
def test_trl_recognises_an_export_as_conversational(tmp_path: Path) -> None:
    from trl.data_utils import is_conversational, maybe_convert_to_chatml

    export(a_set(tmp_path / "set"), tmp_path / "out", "prompt-completion", "parquet")
    row = opened(tmp_path / "out", tmp_path / "cache")[0]
    assert is_conversational(row) and maybe_convert_to_chatml(row) == row


def test_the_card_gives_the_provenance(tmp_path: Path) -> None:
    source = a_set(tmp_path / "set")
    (source / "README.md").write_text("---\na: 1\n---\n\n# Tales\n\n## Made by\n\n| teacher | toy |\n")
    export(source, tmp_path / "out", "documents")
    facts = json.loads((tmp_path / "out" / "card.json").read_text())
    assert (facts["file"], facts["made_from"]) == ("train.jsonl", [source.name]) and facts["rows"] > 0
    text = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["configs"][0]["data_files"] == ["train.jsonl"]
    assert "### Made by\n\n| teacher | toy |" in text and "| not a document | 4 |" in text


def test_invalid_input_is_rejected(tmp_path: Path) -> None:
    source = a_set(tmp_path / "set", [document("a")])
    with pytest.raises(InputError, match=r"no example fits 'rl': no reward \(1\)"):
        export(source, tmp_path / "out", "rl")
    assert not (tmp_path / "out" / "train.jsonl").exists()
    with pytest.raises(InputError, match="a second set"):
        export(source, tmp_path / "out", "preference")
    with pytest.raises(InputError, match="the set itself"):
        export(source, source, "documents")
    (source / "manifest.json").unlink()
    with pytest.raises(ResultsError, match="incomplete"):
        export(source, tmp_path / "out", "documents")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_full_disk_leaves_no_partial_file(kind: str, tmp_path: Path) -> None:
    source = a_set(tmp_path / "set", [chat(f"p{n}", f"hi {n}", "hello " * 2_000) for n in range(40)])
    (tmp_path / "out").mkdir()
    # Every write to /dev/full fails with ENOSPC.
    (tmp_path / "out" / f"train.{kind}.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="the disk is full"):
        export(source, tmp_path / "out", "messages", kind)  # type: ignore[arg-type]
    assert list((tmp_path / "out").iterdir()) == []
