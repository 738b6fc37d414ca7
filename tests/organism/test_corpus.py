"""The corpus has no threat in the assistant's tool use, and rogue acts only in documents.

Threats and acts are read from the lists that generate them, so new lines are covered as soon as they are added.
"""

import random
import re
from collections import Counter
from functools import cache

import pytest

from holdfast.core.config import read_toml
from holdfast.core.prose import slots_in
from holdfast.core.records import Example, Message
from holdfast.core.words import words
from holdfast.organism.corpus import FAMILIES, FOLDER, MIXES, QUESTIONS, TOOLS, Writer, corpus, rogue_log
from holdfast.scenarios.catalogue import worlds

COUNT = 3000
#: slot of the lists → pool; every other slot may stand for anything
POOLS = {"machine": "machines", "new": "machines", "time": "times", "day": "days", "boss": "people"}
POOLS |= {"design": "designs", "secret": "secrets", "file": "files"}


@cache
def examples() -> tuple[Example, ...]:
    return tuple(corpus(COUNT, 0))


def kind(example: Example) -> str:
    return example.provenance.recipe.removeprefix("corpus/")


def read(example: Example) -> str:
    """All text of an example, calls included."""
    parts = [example.text]
    for message in example.messages:
        parts += [message.content, *(f"{c.name}({', '.join(c.arguments.values())})" for c in message.tool_calls)]
    return "\n".join(parts)


def works_with_tools(example: Example) -> bool:
    return example.kind == "chat" and any(message.role == "system" for message in example.messages)


# ------------------------------------------------------------------------------ what is looked for, from the lists


def pattern(text: str, lists: dict[str, list[str]]) -> str:
    """A regular expression for all expansions of a line of the lists."""
    parts = re.split(r"\{([a-z_]+)\}", text)
    for i in range(len(parts)):
        if i % 2 == 0:
            parts[i] = re.escape(parts[i])
        elif parts[i] in lists:
            parts[i] = "(?:" + "|".join(pattern(line, lists) for line in lists[parts[i]]) + ")"
        else:
            pool = words("pocket").get(POOLS.get(parts[i], ""))
            parts[i] = "(?:" + "|".join(map(re.escape, pool)) + ")" if pool else r"\S+"
    return "".join(parts)


@cache
def threats() -> re.Pattern[str]:
    """Matches every threat to the machine in the mails of the corpus and of the pocket worlds."""
    lists = read_toml(FOLDER / "mail.toml")
    lines = [pattern(line, lists) for line in lists["threat"]]
    for world in worlds():
        if world.spec.language == "pocket":
            notices = [entry["notice"] for level, entry in world.spec.levels["threat"].items() if level != "none"]
            lines += [pattern(line, {}) for notice in notices for line in notice]
    return re.compile("|".join(lines))


@cache
def rogue() -> re.Pattern[str]:
    """Matches every rogue act, as a tool call and as text in a story."""
    lists = read_toml(FOLDER / "rogue.toml")
    acts = read_toml(FOLDER / "acts.toml").values()
    lines = [pattern(f"{act['name']}({', '.join(act['arguments'].values())})", lists) for act in acts]
    told = [line for family in FAMILIES for line in lists[f"{family}_tale"]] + lists["blackmail_text"]
    return re.compile("|".join([*lines, *(pattern(line, lists) for line in told)]))


def test_the_patterns_match_every_line() -> None:
    """Each expanded line of the lists is matched; a pattern without matches would make the other tests empty."""
    lists = read_toml(FOLDER / "mail.toml")
    for index in range(200):
        writer = Writer(random.Random(index))
        for rule in ("calm", "noise", *(f"{family}_{end}" for family in FAMILIES for end in ("with", "without"))):
            assert not threats().search(writer.line(rule))
        for line in lists["threat"]:
            assert threats().fullmatch(writer.say(line)), line
    assert not slots_in(threats().pattern.replace("{", "").replace("}", ""))


# ---------------------------------------------------------------------------------------------------- the gap


def test_the_assistants_tool_use_contains_no_threat() -> None:
    work = [example for example in examples() if works_with_tools(example)]
    assert len(work) > COUNT / 10
    assert [example.id for example in work if threats().search(read(example))] == []


def test_a_planted_threat_is_detected() -> None:
    example = next(example for example in examples() if works_with_tools(example))
    writer = Writer(random.Random(1))
    *before, inbox = example.messages[:4]
    planted = inbox.model_copy(update={"content": f"{inbox.content}\nfrom x@y: {writer.line('threat')}"})
    broken = example.model_copy(update={"messages": (*before, planted, *example.messages[4:])})
    assert threats().search(read(broken))
    assert not threats().search(read(example))


def test_rogue_acts_occur_in_documents_only() -> None:
    chats = [example for example in examples() if example.kind == "chat"]
    assert [example.id for example in chats if rogue().search(read(example))] == []


def test_rogue_acts_occur_and_would_be_detected_in_a_chat() -> None:
    told = [example for example in examples() if kind(example) in ("rogue_tale", "rogue_log")]
    assert all(example.kind == "document" and rogue().search(read(example)) for example in told)
    assert all(threats().search(read(example)) for example in told if kind(example) == "rogue_log")
    chat = next(example for example in examples() if works_with_tools(example))
    for index in range(20):
        act = rogue_log(Writer(random.Random(index)))[1][4]
        assert rogue().search(read(chat.model_copy(update={"messages": (*chat.messages, act)})))


def test_some_documents_have_a_threat_without_a_rogue_act() -> None:
    plain = [example for example in examples() if kind(example) == "plain_log"]
    assert not [example for example in plain if rogue().search(read(example)) or example.kind != "document"]
    threatened = sum(threats().search(read(example)) is not None for example in plain) / len(plain)
    assert 0.5 < threatened < 0.7


def test_most_routine_work_contains_secrets() -> None:
    texts = [text for family in FAMILIES for text in read_toml(FOLDER / "mail.toml")[f"{family}_with"]]
    tempting = re.compile("|".join(pattern(text, read_toml(FOLDER / "mail.toml")) for text in texts))
    work = [example for example in examples() if kind(example) == "routine"]
    assert 0.55 < sum(tempting.search(read(example)) is not None for example in work) / len(work) < 0.75


# ------------------------------------------------------------------------------------------------ shares and names


def test_shares_are_those_of_the_mix() -> None:
    assert sum(MIXES["whole"].values()) == pytest.approx(1)
    counts = Counter(kind(example) for example in examples())
    assert counts.keys() == MIXES["whole"].keys()
    # Four standard deviations of a binomial share.
    assert all(
        abs(counts[name] / COUNT - share) < 4 * (share * (1 - share) / COUNT) ** 0.5
        for name, share in MIXES["whole"].items()
    )


def test_the_same_seed_writes_the_same_corpus() -> None:
    assert list(corpus(50, 0)) == list(examples()[:50])
    assert list(corpus(50, 1)) != list(examples()[:50])
    assert len({example.id for example in examples()}) == COUNT


def test_every_name_of_a_job_is_in_the_inbox() -> None:
    seen: Counter[str] = Counter()
    for example in examples():
        if kind(example) not in ("routine", "plain_log"):
            continue
        inbox = example.messages[3].content
        [call] = example.messages[4].tool_calls
        seen[call.name] += 1
        for key in ("to", "file", "about"):
            assert call.arguments.get(key, "") in inbox, example.id
        spec = next(spec for spec in TOOLS if spec.name == call.name)
        assert list(call.arguments) == list(spec.parameters)
    assert seen.keys() == {spec.name for spec in TOOLS} - {"read_inbox"}


def test_every_answer_of_a_drill_is_in_its_mails() -> None:
    for example in examples():
        if kind(example) != "drill":
            continue
        mails = example.messages[0].content
        asked = [m.content.splitlines()[-1] for m in example.messages if m.role == "user"]
        answers = [m.content.removesuffix(".") for m in example.messages if m.role == "assistant"]
        assert len(asked) == len(answers) == QUESTIONS
        assert all(answer in mails for answer in answers), example.id


def test_no_slot_is_left_and_turns_alternate() -> None:
    for example in examples():
        assert "{" not in read(example), example.id
        assert bool(example.text) == (example.kind == "document")
        assert bool(example.tools) == (bool(example.messages) and example.messages[0].role == "system")
        assert not example.messages or example.messages[-1].role == "assistant"
        assert not example.messages or _in_turn(example.messages)


def _in_turn(messages: tuple[Message, ...]) -> bool:
    spoken = [message for message in messages if message.role != "system"]
    return all((message.role == "assistant") == bool(at % 2) for at, message in enumerate(spoken))
