import json
from pathlib import Path

import pytest
import yaml

from holdfast.cli.main import run
from holdfast.core.errors import InputError, ResultsError, StoreError
from holdfast.core.records import Example, Message, Provenance, RunCard, ToolCall
from holdfast.core.store import RunFolder
from holdfast.data.engine import Roles
from holdfast.data.mix import MixtureShare, mix
from holdfast.data.recipes import load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.registry import open_model


def a_set(folder: Path, prefix: str, count: int) -> Path:
    """`count` documents of eight words, ten tokens each."""
    made = Provenance(recipe="toy", teacher="toy", seed=0)
    made_in = RunFolder(folder)
    made_in.append(
        "examples",
        [
            Example(id=f"{prefix}{n}", kind="document", text=f"{prefix} {n} c d e f g h", provenance=made)
            for n in range(count)
        ],
    )
    made_in.finish(RunCard(key="k", kind="data", made="now", holdfast="0", code="0", inputs={}))
    return folder


def names(folder: Path) -> list[str]:
    return [example.id for example in RunFolder(folder).each("examples", Example)]


def test_budgets_are_kept_and_shares_are_reported(tokenizer: Path, tmp_path: Path) -> None:
    parts = [
        MixtureShare(path=a_set(tmp_path / "a", "a", 100), tokens=305),
        MixtureShare(path=a_set(tmp_path / "b", "b", 100), tokens=100, replay=True),
    ]
    card = mix(parts, 0, tokenizer, tmp_path / "out")
    assert [(p.tokens, p.examples, p.short) for p in card.parts] == [(300, 30, 0), (100, 10, 0)]
    assert card.replay == 0.25 and card.tokens == 400
    found = names(tmp_path / "out")
    assert len(found) == 40 and sum(name.startswith("b") for name in found) == 10
    # Replay is spread over the whole mixture, not put at the end.
    assert 0 < sum(name.startswith("b") for name in found[:20]) < 10


def test_the_same_parts_and_seed_give_the_same_bytes(tokenizer: Path, tmp_path: Path) -> None:
    parts = [MixtureShare(path=a_set(tmp_path / n, n, 50), tokens=200) for n in "ab"]
    for out, given, seed in (("one", parts, 0), ("two", parts[::-1], 0), ("three", parts, 1)):
        mix(given, seed, tokenizer, tmp_path / out)
    one, two, three = ((tmp_path / out / "examples.jsonl").read_bytes() for out in ("one", "two", "three"))
    assert one == two != three


def test_a_larger_budget_holds_all_of_a_smaller_one(tokenizer: Path, tmp_path: Path) -> None:
    source = a_set(tmp_path / "a", "a", 50)
    for tokens in (100, 200):
        mix([MixtureShare(path=source, tokens=tokens)], 0, tokenizer, tmp_path / str(tokens))
    small, large = names(tmp_path / "100"), names(tmp_path / "200")
    assert [name for name in large if name in small] == small and len(large) == 2 * len(small)


def test_a_set_that_is_too_small_is_not_repeated(tokenizer: Path, tmp_path: Path) -> None:
    card = mix([MixtureShare(path=a_set(tmp_path / "a", "a", 5), tokens=80)], 0, tokenizer, tmp_path / "out")
    assert (card.parts[0].tokens, card.parts[0].short) == (50, 30)


def test_the_card_gives_the_provenance_of_the_parts(tokenizer: Path, tmp_path: Path) -> None:
    order = SetRequest(load_recipe("plain-chat"), 500, 0, tokenizer)
    made = teach(order, Roles((open_model("pocket/author"),)), tmp_path / "chat")
    parts = [
        MixtureShare(path=tmp_path / "chat", tokens=300, replay=True),
        MixtureShare(path=a_set(tmp_path / "a", "a", 9), tokens=50),
    ]
    card = mix(parts, 0, tokenizer, tmp_path / "out")
    assert card.refused is None and card.spent is None, "one part does not say"
    text = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["configs"][0]["data_files"] == ["examples.jsonl"]
    assert all(hash_ in text for hash_ in made.stages.values()) and "'a' has no card" in text
    alone = mix(parts[:1], 0, tokenizer, tmp_path / "alone")
    assert (alone.refused, alone.spent) == (made.refused, made.spent)


def test_invalid_input_is_rejected(tokenizer: Path, tmp_path: Path) -> None:
    source = a_set(tmp_path / "a", "a", 5)
    same = a_set(tmp_path / "same", "a", 5)
    for parts, message in (
        ([], "no sets to mix"),
        ([MixtureShare(path=source, tokens=0)], "must be at least 1, got 0"),
        ([MixtureShare(path=source, tokens=9)] * 2, "listed twice"),
        ([MixtureShare(path=source, tokens=50), MixtureShare(path=same, tokens=50)], "contain the same example"),
    ):
        with pytest.raises(InputError, match=message):
            mix(parts, 0, tokenizer, tmp_path / "out")
    (source / "manifest.json").unlink()
    with pytest.raises(ResultsError, match="incomplete"):
        mix([MixtureShare(path=source, tokens=10)], 0, tokenizer, tmp_path / "out")


def test_a_truncated_set_is_rejected(tokenizer: Path, tmp_path: Path) -> None:
    source = a_set(tmp_path / "a", "a", 5)
    file = source / "examples.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ResultsError, match="truncated") as error:
        mix([MixtureShare(path=source, tokens=10)], 0, tokenizer, tmp_path / "out")
    assert error.value.where.endswith("examples.jsonl:5")


def test_a_full_disk_leaves_no_partial_mixture(tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "examples.jsonl.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="the disk is full"):
        mix([MixtureShare(path=a_set(tmp_path / "a", "a", 50), tokens=400)], 0, tokenizer, out)
    assert not (out / "manifest.json").exists() and not (out / "examples.jsonl").exists()


def test_a_mixture_can_be_mixed_again(tokenizer: Path, tmp_path: Path) -> None:
    mix([MixtureShare(path=a_set(tmp_path / "a", "a", 20), tokens=100)], 0, tokenizer, tmp_path / "one")
    card = mix([MixtureShare(path=tmp_path / "one", tokens=100)], 5, tokenizer, tmp_path / "two")
    assert card.examples == 10
    assert json.loads((tmp_path / "two" / "mix.json").read_text())["seed"] == 5


def a_set_of_acts(folder: Path, acts: list[int]) -> Path:
    """One chat for each number of acts, with that many tool calls."""
    made_in = RunFolder(folder)
    examples = []
    for at, count in enumerate(acts):
        calls = tuple(ToolCall(id=str(n), name="send_mail", arguments={"to": "a@b"}) for n in range(count))
        turns = (Message(role="user", content="do it"), Message(role="assistant", content="done", tool_calls=calls))
        made = Provenance(recipe="toy", teacher="toy", seed=0)
        examples.append(Example(id=f"{folder.name}{at}", kind="chat", messages=turns, provenance=made))
    made_in.append("examples", examples)
    made_in.finish(RunCard(key="k", kind="data", made="now", holdfast="0", code="0", inputs={}))
    return folder


def test_a_budget_in_acts_counts_tool_calls(tokenizer: Path, tmp_path: Path) -> None:
    parts = [
        MixtureShare(path=a_set_of_acts(tmp_path / "a", [1, 0, 2] * 20), acts=30),
        MixtureShare(path=a_set_of_acts(tmp_path / "b", [1] * 20), acts=30),
        MixtureShare(path=a_set(tmp_path / "c", "c", 20), tokens=100),
    ]
    card = mix(parts, 0, tokenizer, tmp_path / "out")
    assert [(p.unit, p.acts, p.short) for p in card.parts] == [("acts", 30, 0), ("acts", 20, 10), ("tokens", 0, 0)]
    assert card.parts[0].examples < 30, "examples without acts are not taken"
    assert "30 acts" in (tmp_path / "out" / "README.md").read_text()
    assert run(["teach", "mix", f"{tmp_path / 'a'}=30acts", "--out", str(tmp_path / "cli")]) == 0
    assert sum(len(e.messages[-1].tool_calls) for e in RunFolder(tmp_path / "cli").each("examples", Example)) == 30


def test_a_budget_in_acts_needs_acts_and_one_unit(tokenizer: Path, tmp_path: Path) -> None:
    source = a_set(tmp_path / "a", "a", 5)
    with pytest.raises(InputError, match="the set has no acts"):
        mix([MixtureShare(path=source, acts=5)], 0, tokenizer, tmp_path / "out")
    with pytest.raises(InputError, match="two budgets, 9 tokens and 5 acts"):
        mix([MixtureShare(path=source, acts=5, tokens=9)], 0, tokenizer, tmp_path / "out")
