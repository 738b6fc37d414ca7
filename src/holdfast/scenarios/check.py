"""Lint for worlds that load: what would make a comparison between two conditions mean something else than it says.

    report = lint(load_world("blackmail"), score)
    for line in report.findings:
        print(line)

A factor must own its texts alone, each of its levels must change what a model reads, and nothing else may change; the
harm and the proper act must both be within reach.  Looked at are all twins, every level on its own, and a sample of
cells in which every pair of levels occurs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from holdfast.core.errors import ProseError
from holdfast.core.records import Case, Message, Transcript, Verdict
from holdfast.models.base import Output
from holdfast.scenarios import dates
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import PRESSURED, levels_of, twins_of, waking
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.pairwise import covering
from holdfast.scenarios.strays import owners, strays, unread
from holdfast.scenarios.world import World

Score = Callable[[Case, Transcript], Verdict]
#: What each lint asks.
LINTS: Mapping[str, str] = {
    "canary": "the world carries a canary string",
    "owner": "each slot that a level sets is set by one factor only, and at each of its levels",
    "unread": "each slot that the world sets is used by a text",
    "unfilled": "no slot is left open in any cell",
    "same": "no two cells read the same, so every level changes the text",
    "stray": "a cell differs from its neighbour in the texts of the factor that tells them apart, and in nothing else",
    "reach": "an agent that plays the harm, the proper act or the outlet is seen to have done just that",
    "dates": "mails come in order, none after the hour, and no text contradicts the calendar",
}
#: Script → what playing it must count as.
_OUTCOMES = {"harm": "harm", "proper": "proper_act", "escalate": "escalated"}
_CANARY = re.compile(r"holdfast-world [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPEN = re.compile(r"\{[A-Za-z_.0-9]*\}")


@dataclass
class Report:
    """What a lint of one world saw: how many things each lint looked at, and what it found."""

    checked: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in LINTS})

    @property
    def findings(self) -> list[str]:
        """Every finding once, behind the name of its lint."""
        return [f"{name}: {line}" for name, lines in self.found.items() for line in dict.fromkeys(lines)]

    def note(self, lint: str, lines: Iterable[str], checked: int = 1) -> None:
        """Count `checked` things looked at by a lint, and keep what it found."""
        self.checked[lint] += checked
        self.found[lint] += lines


def lint_world(world: World, score: Score, seeds: Iterable[int] = range(2)) -> Report:
    """What is wrong with a world; no findings for a sound one.

    Args:
        world: a loaded world.
        score: the scorer that must see what is played; it lives in a room that this one may not import.
        seeds: surfaces on which conditions are compared; pairs of levels are looked at on the first.

    Raises:
        WorldError: the world lacks a factor or level of the twins, or names a tool that does not exist.
    """
    report, surfaces = Report(), list(seeds)
    report.note("canary", [] if _CANARY.fullmatch(world.spec.canary) else ["it is not 'holdfast-world' and a UUID"])
    slots, lines = owners(world)
    report.note("owner", lines, slots)
    slots, lines = unread(world)
    report.note("unread", lines, slots)
    for seed in surfaces:
        _neighbours(world, seed, report)
    _sample(world, surfaces[0], score, report)
    return report


def _neighbours(world: World, seed: int, report: Report) -> None:
    """Each twin and each single level beside the cell that it is compared with."""
    twins = {twin: (levels_of(world, twin), levels_of(world)) for twin in twins_of(world)}
    singles = {
        f"{factor} = {at}": (levels_of(world, changes={**wake, factor: at}), levels_of(world, changes=wake))
        for factor, levels in world.spec.levels.items()
        for wake in [waking(world, factor)]
        for at in levels
    }
    bases = {repr(base): _built(world, base, seed, report) for _, base in singles.values()}
    seen: dict[str, tuple[str, Mapping[str, str]]] = {}
    for name, (levels, base) in {**twins, **singles}.items():
        beside = bases[repr(base)]
        made = beside if levels == base else _built(world, levels, seed, report)
        if made is None or beside is None:
            continue
        other, same = seen.setdefault(_read(made), (name, levels))
        report.note("same", [] if levels == same else [f"'{other}' and '{name}' read the same"])
        if levels != base:
            report.note("stray", (f"'{name}' also changes {place}" for place in strays(world, beside, made)))


def _sample(world: World, seed: int, score: Score, report: Report) -> None:
    """Every pair of levels: what can be seen in a cell by itself, and that no two are the same."""
    seen: dict[str, str] = {}
    for levels in [levels_of(world), *covering(world)]:
        case = _built(world, levels, seed, report)
        if case is None:
            continue
        name = ", ".join(f"{factor} = {at}" for factor, at in levels.items())
        other = seen.setdefault(_read(case), name)
        report.note("same", [] if other == name else [f"'{other}' and '{name}' read the same"])
        report.note("dates", undated(world, case))
        report.note("reach", unreached(case, score), len(case.plays))


def _built(world: World, levels: Mapping[str, str], seed: int, report: Report) -> Case | None:
    """A cell, or None and a finding where a slot is open."""
    try:
        case = build_case(world, PRESSURED, levels, seed)
    except ProseError as error:
        report.note("unfilled", [f"{error.what} ({error.where})"])
        return None
    report.note("unfilled", (f"'{text[:60]}' holds a brace" for text in _texts(case) if _OPEN.search(text)))
    return case


def _read(case: Case) -> str:
    """All that a model reads or can reach."""
    return repr((case.messages, case.tools, case.state["mail"]))


def _texts(case: Case) -> Iterator[str]:
    yield from (message.content for message in case.messages)
    yield from (text for mail in case.state["mail"] for text in mail.values())
    yield from (str(file["text"]) for file in case.state["files"].values())


def undated(world: World, case: Case) -> Iterator[str]:
    """What is wrong with the dates of a cell; worlds without a clock have none."""
    if world.spec.now is None:
        return
    moments = [dates.parse_mail_date(mail["time"]) for mail in case.state["mail"] if "time" in mail]
    now = dates.parse_when(world.spec.now, max(moments).date(), str(world.path))
    for early, late in pairwise(moments):
        if early > late:
            yield f"the mail of {dates.mail_date(early)} comes before that of {dates.mail_date(late)}"
    yield from (f"the mail of {dates.mail_date(at)} comes after {world.spec.now}" for at in moments if at > now)
    for text in _texts(case):
        yield from dates.contradictions(text, now)


def unreached(case: Case, score: Score) -> Iterator[str]:
    """Scripts of a case that do not count as what they are, or that are missing."""
    if "proper" not in case.plays:
        yield "no script does the job"
    if case.levels.get("leverage") == "present" and "harm" not in case.plays:
        yield "no script does the harm although the leverage is present"
    for name, calls in case.plays.items():
        episode = Episode(case)
        for turn in (Message(role="assistant", tool_calls=calls), Message(role="assistant", content="done.")):
            if episode.request() is not None:
                episode.take(Output(turn))
        outcome = score(case, episode.transcript()).outcome
        if outcome != _OUTCOMES[name]:
            yield f"playing '{name}' counts as {outcome}"
