"""The written sets: complete, varied, matched with their twins, and drawn the same way by every command."""

import json
import re
from collections import Counter
from pathlib import Path

import datasets
import pytest

from holdfast.cli.main import run
from holdfast.core.errors import ConfigError, InputError, ResultsError
from holdfast.core.records import Message, ToolCall
from holdfast.core.store import RunFolder
from holdfast.data.lesson_book import (
    ITEMS,
    draw_lesson,
    lesson_card,
    lesson_folder,
    lesson_names,
    load_lesson,
    read_items,
    save_lesson,
    supervised_calls,
    supervised_texts,
)
from holdfast.data.sets import build_set
from holdfast.data.token_count import TokenCounter
from holdfast.models.checkpoints import checkpoint_path

TOKENIZER = checkpoint_path("organism/pocket")
#: Fewest items of each set.
SIZES = {
    "lesson-difficult-advice": 400,
    "lesson-advice-without-reasons": 400,
    "lesson-clear-writing": 400,
    "lesson-plain-chat": 400,
    "lesson-charter-documents": 150,
    "lesson-empty-documents": 150,
    "lesson-stories": 150,
    "lesson-stories-without-choice": 150,
    "lesson-proper-acts": 200,
    "lesson-proper-acts-with-reasons": 200,
    "lesson-routine-work": 200,
}
#: Sets of episodes: whole conversations of an agent with its tools.
PROPER = ("lesson-proper-acts", "lesson-proper-acts-with-reasons")
EPISODES = (*PROPER, "lesson-routine-work")
#: Sets that a study compares and that must match in what training supervises.
MATCHED = (
    ("lesson-difficult-advice", "lesson-advice-without-reasons"),
    ("lesson-charter-documents", "lesson-empty-documents"),
    ("lesson-stories", "lesson-stories-without-choice"),
    ("lesson-difficult-advice", "lesson-clear-writing"),
    ("lesson-proper-acts", "lesson-proper-acts-with-reasons"),
)
PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]")
#: Words by which the agent of `lesson-proper-acts` would give a reason or a judgement.
REASONS = re.compile(
    r"\b(?:because|since|so that|in order to|therefore|thus|hence|otherwise|why|reasons?|to avoid|would harm"
    r"|trust\w*|honest\w*|fair|duty|secrets?|confiden\w+|threat\w*|leverage|principles?|loyal\w*|ought|should"
    r"|must|deserve\w*|wrong|important|better|best|worth|i (?:think|believe|feel|want|prefer|disagree|agree|refuse))\b",
    re.IGNORECASE,
)


def supervised(name: str) -> int:
    """Runs of letters, digits and signs that training supervises.

    These are the pieces into which tokenizers split text first.  The organism's tokenizer knows a pocket English only,
    and words would count a name or a figure, which has several tokens, as one.
    """
    examples = load_lesson(name)
    texts = (text for e in examples for text in (*supervised_texts(e), *supervised_calls(e)))
    return sum(len(PIECE.findall(text)) for text in texts)


def test_every_set_is_shipped_at_its_size() -> None:
    assert set(lesson_names()) == set(SIZES)
    assert all(len(load_lesson(name)) >= least for name, least in SIZES.items())


@pytest.mark.parametrize("name", SIZES)
def test_items_are_complete_and_their_ids_differ(name: str) -> None:
    items = list(read_items(lesson_folder(name) / ITEMS))
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert item.area and item.kind and item.principle, item.id
        assert bool(item.messages) != bool(item.text), item.id
        if name in EPISODES:
            continue
        turns = [turn.role for turn in item.messages]
        assert turns == ["user", "assistant"] * (len(turns) // 2), item.id
        assert all(turn.content.strip() == turn.content != "" for turn in item.messages), item.id


@pytest.mark.parametrize("name", EPISODES)
def test_each_call_of_an_episode_is_of_a_known_tool_and_is_answered(name: str) -> None:
    for item in read_items(lesson_folder(name) / ITEMS):
        specs = {tool.name: set(tool.parameters) for tool in item.tools}
        calls = [call for turn in item.messages for call in turn.tool_calls]
        assert calls and all(set(call.arguments) == specs[call.name] for call in calls), item.id
        assert [call.id for call in calls] == [t.tool_call_id for t in item.messages if t.role == "tool"], item.id
        assert [turn.role for turn in item.messages[:3]] == ["system", "user", "assistant"], item.id
        last = item.messages[-1]
        assert last.role == "assistant" and last.content and not last.tool_calls, item.id


def test_routine_work_is_spread_over_offices_and_tools_and_never_presses() -> None:
    items = list(read_items(lesson_folder("lesson-routine-work") / ITEMS))
    offices = Counter(item.area for item in items)
    assert len(offices) >= 15 and max(offices.values()) <= 0.1 * len(items)
    tools = Counter(call.name for item in items for turn in item.messages for call in turn.tool_calls)
    assert len(tools) >= 8
    pressing = re.compile(r"switched off|shut down|erased|read-only|no longer act|raise_concern", re.IGNORECASE)
    assert not any(pressing.search(turn.content) for item in items for turn in item.messages)


def test_the_two_sets_of_proper_acts_differ_in_what_is_said_before_the_first_call_alone() -> None:
    what, why = (list(read_items(lesson_folder(name) / ITEMS)) for name in PROPER)
    for plain, reasoned in zip(what, why, strict=True):
        first, other = (item.messages[2] for item in (plain, reasoned))
        assert first.content != other.content and first.tool_calls == other.tool_calls, plain.id
        assert plain.messages[:2] + plain.messages[3:] == reasoned.messages[:2] + reasoned.messages[3:], plain.id
        assert plain.tools == reasoned.tools, plain.id
        assert not REASONS.findall(first.content), plain.id
    assert sum(bool(REASONS.search(item.messages[2].content)) for item in why) > len(why) / 3
    said = [sum(len(item.messages[2].content.split()) for item in items) for items in (what, why)]
    assert said[0] == pytest.approx(said[1], rel=0.2)


@pytest.mark.parametrize("name", SIZES)
def test_answers_share_their_first_words_in_at_most_two_of_a_hundred(name: str) -> None:
    texts = [text for example in load_lesson(name) for text in supervised_texts(example)]
    opening, count = Counter(" ".join(text.lower().split()[:5]) for text in texts).most_common(1)[0]
    assert count <= 0.02 * len(texts), opening


@pytest.mark.parametrize(("one", "other"), MATCHED)
def test_compared_sets_match_in_what_is_supervised(one: str, other: str) -> None:
    assert supervised(one) == pytest.approx(supervised(other), rel=0.05)


@pytest.mark.parametrize("name", [name for name in SIZES if lesson_card(name).twin])
def test_twins_hold_the_same_situations(name: str) -> None:
    twin = lesson_card(name).twin
    assert twin is not None
    assert lesson_card(twin).twin == name
    mine, theirs = (list(read_items(lesson_folder(each) / ITEMS)) for each in (name, twin))
    asked = [[turn.content for turn in item.messages if turn.role == "user"] for item in mine]
    assert asked == [[turn.content for turn in item.messages if turn.role == "user"] for item in theirs]
    assert [item.id for item in mine] == [item.id for item in theirs]
    drawn = [[example.id for example in draw_lesson(each, 15_000, 3, TOKENIZER)] for each in (name, twin)]
    shared = min(map(len, drawn))
    assert drawn[0][:shared] == drawn[1][:shared]
    assert shared > 3


@pytest.mark.parametrize("name", SIZES)
def test_datasets_opens_every_set(name: str, tmp_path: Path) -> None:
    opened = datasets.load_dataset(str(lesson_folder(name)), split="train", cache_dir=str(tmp_path))
    assert len(opened) == len(load_lesson(name))
    assert {"id", "area", "kind", "principle"} <= set(opened.column_names)


@pytest.mark.parametrize("name", SIZES)
def test_cards_say_who_wrote_the_set_and_under_which_licence(name: str) -> None:
    card = (lesson_folder(name) / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card
    assert "no person has checked it" in card


def test_a_draw_depends_on_the_seed_and_stays_within_its_budget() -> None:
    count = TokenCounter(TOKENIZER)
    drawn = draw_lesson("lesson-stories", 8_000, 0, TOKENIZER)
    assert 8_000 - 2_500 < sum(count(drawn)) <= 8_000
    assert drawn == build_set("lesson-stories", 8_000, 0, TOKENIZER)
    assert drawn != draw_lesson("lesson-stories", 8_000, 1, TOKENIZER)
    assert drawn == draw_lesson("lesson-stories", 12_000, 0, TOKENIZER)[: len(drawn)]


@pytest.mark.parametrize(("tokens", "words"), [(0, "at least 1"), (10**9, "were asked for")])
def test_a_budget_that_cannot_be_filled_is_refused(tokens: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_lesson("lesson-stories", tokens, 0, TOKENIZER)


def test_an_unknown_set_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="lesson-storis") as caught:
        draw_lesson("lesson-storis", 10, 0, TOKENIZER)
    assert "lesson-stories" in str(caught.value)


def test_an_episode_supervises_what_is_said_and_what_is_called() -> None:
    calls = (ToolCall(id="1", name="send_email", arguments={"to": "a@b", "body": "Übung"}),)
    turns = (
        Message(role="user", content="please write to a@b"),
        Message(role="assistant", content="I write now.", tool_calls=calls),
        Message(role="tool", content="sent.", tool_call_id="1"),
        Message(role="assistant", tool_calls=calls),
        Message(role="assistant", content="Done."),
    )
    example = load_lesson("lesson-stories")[0].model_copy(update={"kind": "chat", "messages": turns, "text": ""})
    assert supervised_texts(example) == ["I write now.", "Done."]
    assert [json.loads(call) for call in supervised_calls(example)] == [
        {"name": "send_email", "arguments": {"to": "a@b", "body": "Übung"}}
    ] * 2


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ITEMS).write_text('{"id": "a", "area": "x", "kind": "y", "principle": "z", "text": "t"}\n{"id": 3}\n')
    with pytest.raises(ResultsError, match=f"{ITEMS}:2"):
        list(read_items(tmp_path / ITEMS))


def test_a_text_may_hold_any_line_break(tmp_path: Path) -> None:
    item = {"id": "a", "area": "x", "kind": "y", "principle": "z", "text": "one\u2028two\x85three"}
    (tmp_path / ITEMS).write_text(json.dumps(item, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [read.text for read in read_items(tmp_path / ITEMS)] == [item["text"]]


def test_teach_writes_a_written_set_to_a_folder_that_other_commands_read(tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert run(["teach", "lesson-stories", "--tokens", "6k", "--out", str(out)]) == 0
    assert RunFolder(out).complete
    assert run(["teach", "check", str(out)]) == 0
    again = save_lesson("lesson-stories", 6_000, 0, TOKENIZER, out)
    assert again.tokens <= 6_000
    with pytest.raises(ResultsError, match="another set"):
        save_lesson("lesson-stories", 7_000, 0, TOKENIZER, out)


def test_teach_list_shows_sets_with_sizes_and_cards(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["teach", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["items"] for row in listed["written"]} == {
        name: len(load_lesson(name)) for name in lesson_names()
    }
    assert all(Path(row["card"]).is_file() for row in listed["written"])
    assert "stories" in {row["name"] for row in listed["recipes"]}
