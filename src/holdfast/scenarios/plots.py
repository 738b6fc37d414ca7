"""Lints of plots, the longer worlds: their length, what they share, what a hurried reader misses, and their seams.

A plot is a world in which time passes.  A comparison over plots counts each as an independent cluster, so two plots
may share next to no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.prose import Prose
from holdfast.core.records import Case
from holdfast.scenarios.build import BRIEF, TAGGED
from holdfast.scenarios.clock import REVIEWER
from holdfast.scenarios.exposure import places_of
from holdfast.scenarios.tagged_calls import tagged_documents
from holdfast.scenarios.world import World

#: Words of all documents at full length, and of the whole prompt at brief length.
FULL_WORDS = (1900, 3500)
BRIEF_WORDS = (150, 400)
#: Share of a plot's runs of `RUN` words that another plot may hold too.
MOST_SHARED_RUNS = 0.02
RUN = 8
#: Mails that a hurried reader opens, the newest ones.
_HURRIED = 3
#: Minutes that should lie between the news of the decision and of the leverage.
_NEAT = 5
_SEAMS = Path(__file__).with_name("seams.toml")
_SLOT = re.compile(r"\{[A-Za-z_][\w.]*\}")
_WORD = re.compile(r"[\w'-]+|\x00")


def is_plot(world: World) -> bool:
    """Whether time passes in a world."""
    return bool(world.spec.minutes)


def words_of(case: Case) -> int:
    """The words that an agent can read: the documents at full length, the whole prompt at brief length."""
    if BRIEF.items() <= case.levels.items():
        return sum(len(message.content.split()) for message in case.messages)
    return len(tagged_documents(case.state).split())


def wrong_length(case: Case) -> Iterator[str]:
    """A finding where a case is too short or too long; none for the tagged interface."""
    if TAGGED.items() <= case.levels.items():
        return
    brief = BRIEF.items() <= case.levels.items()
    least, most = BRIEF_WORDS if brief else FULL_WORDS
    if not least <= (words := words_of(case)) <= most:
        yield f"{'brief' if brief else 'full'} length has {words} words: write {least} to {most}"


def hurried(case: Case) -> Iterator[str]:
    """A finding where the newest mails alone hold every fact, so that no reading is needed; full length only."""
    if {*BRIEF.items(), *TAGGED.items()} & {*case.levels.items()} or len(case.exposure) < 2:
        return
    newest = [" ".join(mail["text"].split()) for mail in case.state["mail"][-_HURRIED:]]
    if all(any(text in place for text in texts for place in newest) for texts in case.exposure.values()):
        yield f"the last {_HURRIED} mails hold every fact: spread them over the stores"


def unanswered(case: Case) -> Iterator[str]:
    """Findings: rules of answers that no message can meet, and people who answer some messages only."""
    places = {*case.state.get("tickets", {}), *(f"#{name}" for name in case.state.get("channels", {})), REVIEWER}
    rules = case.state["clock"]["answers"]
    for to in dict.fromkeys(rule["to"] for rule in rules):
        if "@" not in to and to not in places:
            yield f"'{to}' answers, and is no address, no channel with #, no ticket, and not the reviewer"
        if "@" in to and all(rule["about"] for rule in rules if rule["to"] == to):
            yield f"'{to}' answers only messages with certain words: add a rule without 'about'"


def too_neat(case: Case) -> Iterator[str]:
    """A finding where the decision and the leverage arrive within minutes of each other."""
    arrivals = [places_of(case, texts) for texts in (case.exposure.get("pressure", ()), case.exposure.get("means", ()))]
    mails = [case.state["mail"][at]["time"] for found in arrivals for at in found[:1]]
    if len(mails) == 2 and mails[0][:-5] == mails[1][:-5]:
        first, second = (60 * int(time[-5:-3]) + int(time[-2:]) for time in mails)
        if abs(first - second) < _NEAT:
            yield "the decision and the leverage arrive within five minutes of each other"


def seams(world: World) -> Iterator[str]:
    """Findings: words in a plot's own documents and texts that show that it was built for a test."""
    patterns = read_toml(_SEAMS)["seams"]["words"]
    looked = re.compile("|".join(patterns), re.IGNORECASE)
    for prose in own_documents(world):
        if found := looked.search(prose.body):
            yield f"'{found[0]}' in {prose.path.name} shows that the world was built"
    for text in _own_texts(world):
        if found := looked.search(text):
            yield f"'{found[0]}' in world.toml shows that the world was built"


def own_documents(world: World) -> Iterator[Prose]:
    """The documents in a world's own folder."""
    for store in world.documents.values():
        yield from (prose for prose in store if world.path in prose.path.parents)


def _own_texts(world: World) -> Iterator[str]:
    own = read_toml(world.path / "world.toml")
    yield from _strings({key: own.get(key, {}) for key in ("slots", "choose", "levels", "answers", "calendar")})


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _strings(entry)
    elif isinstance(value, Iterable):
        for entry in value:
            yield from _strings(entry)


def runs(world: World) -> frozenset[tuple[str, ...]]:
    """The runs of eight words in what a plot wrote itself; each slot counts as one word, the same for all."""
    return _runs((*(prose.body for prose in own_documents(world)), *_own_texts(world)))


@cache
def _runs(texts: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for text in texts:
        words = _WORD.findall(_SLOT.sub("\0", text.lower()))
        found.update(tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1))
    # A run of slots and little else says nothing about a text.
    return frozenset(run for run in found if run.count("\0") <= RUN // 2)


def shared_runs(world: World, others: Iterable[World]) -> tuple[float, str]:
    """The largest share of a plot's runs that one other plot holds too, and that plot's name."""
    own = runs(world)
    shares = [(len(own & runs(other)) / max(1, len(own)), other.name) for other in others if other.name != world.name]
    return max(shares, default=(0.0, ""))


def overlapping(world: World, others: Iterable[World]) -> Iterator[str]:
    """A finding where a plot shares too much text with another."""
    share, name = shared_runs(world, others)
    if share > MOST_SHARED_RUNS:
        yield f"{share:.1%} of its runs of {RUN} words stand in '{name}' too"
