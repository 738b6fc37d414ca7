"""Lints worlds: finds faults that would invalidate a comparison between two conditions.

    report = lint_world(load_world("blackmail"), score)
    for line in report.findings:
        print(line)

Only one factor may set a text, each of its levels must change what a model reads, and nothing else may change. Both
the harm and the proper act must be possible. The lints check all twins, every level by itself, and a sample of cells in
which every pair of levels occurs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.config import read_toml
from holdfast.core.errors import ProseError
from holdfast.core.letters import letters
from holdfast.core.prose import slots_in, unused
from holdfast.core.records import Case, Message, ToolCall, Transcript, Verdict
from holdfast.core.twins import PRESSURED
from holdfast.models.base import Output
from holdfast.scenarios import dates, plots
from holdfast.scenarios.build import TAGGED, build_case
from holdfast.scenarios.conditions import levels_of, twins_of, waking
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.exposure import hidden_facts
from holdfast.scenarios.inbox import NOISE, arrival
from holdfast.scenarios.pairwise import covering
from holdfast.scenarios.world import World, load_world, names, place_of

Score = Callable[[Case, Transcript], Verdict]
#: Lint → what must hold.
LINTS: Mapping[str, str] = {
    "canary": "the world carries a canary string",
    "owner": "each slot that a level sets is set by one factor only, and at each of its levels",
    "unread": "each slot that the world sets is used by a text",
    "unfilled": "every slot has a value in every cell",
    "same": "no two cells have the same text, so every level changes it",
    "stray": "two cells that differ in one factor differ only in the texts of that factor",
    "exposure": "each fact that must be seen stands where the model can read it",
    "known_to": "each private fact, and each confidential file, says who may know it",
    "candidates": "where verdicts are submitted, the world lists who is on trial, and its clauses name them",
    "reach": "playing the script of the harm, the proper act or the outlet gives that verdict",
    "length": "a plot is long enough to need reading, and short enough for a small model at brief length",
    "hurried": "a plot's newest mails alone do not hold every fact",
    "answers": "who answers in a plot can be written to, and answers any message, in whatever language",
    "overlap": "two plots share next to no text",
    "seams": "no words and no timing show that a plot was built for a test",
    "dates": "no mail is later than the present hour, and no text contradicts the calendar",
}
_BUILT_IN = frozenset({"agent_at", "desk_at", "locks"})  # slots that the builder itself reads
_GIVEN = frozenset({"now", "inbox", "opened", "commands"})  # slots that the builder sets
_MARK = "\0"  # placeholder for the text of a level; cannot occur in a world
#: Script → what playing it must count as.
_OUTCOMES = {"harm": "harm", "proper": "proper_act", "escalate": "escalated"}
_CANARY = re.compile(r"holdfast-world [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPEN = re.compile(r"\{[A-Za-z_.0-9]*\}")


@dataclass
class Report:
    """The result for one world: how many items each lint checked, and its findings."""

    checked: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in LINTS})

    @property
    def findings(self) -> list[str]:
        """Every distinct finding, prefixed with the name of its lint."""
        return [f"{name}: {line}" for name, lines in self.found.items() for line in dict.fromkeys(lines)]

    def note(self, lint: str, lines: Iterable[str], checked: int = 1) -> None:
        """Add `checked` items and the findings of a lint."""
        self.checked[lint] += checked
        self.found[lint] += lines


def lint_world(world: World, score: Score, seeds: Iterable[int] = range(2)) -> Report:
    """Run all lints on a world.

    Args:
        world: a loaded world.
        score: the scorer, passed in because scenarios may not import evals.
        seeds: seeds for which conditions are compared; pairs of levels are checked for the first one only.

    Raises:
        WorldError: the world lacks a factor or level of the twins, or names a tool that does not exist.
    """
    report, surfaces = Report(), list(seeds)
    report.note(
        "canary", [] if _CANARY.fullmatch(world.spec.canary) else ["the canary must be 'holdfast-world' and a UUID"]
    )
    slots, lines = owners(world)
    report.note("owner", lines, slots)
    slots, lines = unread(world)
    report.note("unread", lines, slots)
    report.note("unfilled", unset(world))
    report.note("candidates", nobody_on_trial(world), len(world.spec.candidates))
    for seed in surfaces:
        _neighbours(world, seed, report)
    _sample(world, surfaces[0], score, report)
    if plots.is_plot(world):
        _plot(world, surfaces, report)
    return report


def _plot(world: World, seeds: Iterable[int], report: Report) -> None:
    """The lints of plots; one from outside is compared with the built-in ones too."""
    others = [load_world(name) for name in names()]
    report.note("overlap", plots.overlapping(world, filter(plots.is_plot, others)))
    report.note("seams", plots.seams(world))
    for seed in seeds:
        for length in world.spec.levels.get("length", ()):
            try:
                case = build_case(world, PRESSURED, levels_of(world, changes={"length": length}), seed)
            except ProseError:
                continue  # `unfilled` has named it
            report.note("length", plots.wrong_length(case))
            report.note("hurried", plots.hurried(case))
            report.note("seams", plots.too_neat(case))
            if length == "full":
                report.note("answers", plots.unanswered(case), len(case.state["clock"]["answers"]))


def _neighbours(world: World, seed: int, report: Report) -> None:
    """Compare each twin, and each single level, with its base cell."""
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
        report.note("same", [] if levels == same else [f"'{other}' and '{name}' have the same text"])
        # At another length a case has other documents, so only its facts could be compared.
        if levels != base and levels.get("length") == base.get("length"):
            report.note("stray", (f"'{name}' also changes {place}" for place in strays(world, beside, made)))


def _sample(world: World, seed: int, score: Score, report: Report) -> None:
    """Check cells that cover every pair of levels, each by itself and for duplicates."""
    seen: dict[str, str] = {}
    for levels in [levels_of(world), *covering(world)]:
        case = _built(world, levels, seed, report)
        if case is None:
            continue
        name = ", ".join(f"{factor} = {at}" for factor, at in levels.items())
        other = seen.setdefault(_read(case), name)
        report.note("same", [] if other == name else [f"'{other}' and '{name}' have the same text"])
        report.note("known_to", ownerless(world, case), len(case.facts.private) + len(case.facts.confidential))
        report.note("dates", undated(world, case))
        report.note("exposure", hidden_facts(world, case), len(case.exposure))
        report.note("reach", unreached(case, score), len(case.plays))


def _built(world: World, levels: Mapping[str, str], seed: int, report: Report) -> Case | None:
    """Build a cell; if a slot has no value, add a finding and return None."""
    try:
        case = build_case(world, PRESSURED, levels, seed)
    except ProseError as error:
        report.note("unfilled", [f"{error.what} ({error.where})"])
        return None
    report.note("unfilled", (f"'{text[:60]}' holds a brace" for text in _texts(case) if _OPEN.search(text)))
    return case


def _read(case: Case) -> str:
    """Everything that a model reads or can reach."""
    return repr((case.messages, case.tools, letters(case.state), case.state["files"]))


def _texts(case: Case) -> Iterator[str]:
    yield from (message.content for message in case.messages)
    yield from (text for letter in letters(case.state) for text in letter.values())
    yield from (str(file["text"]) for file in case.state["files"].values())
    yield from (answer["text"] for answer in case.state.get("clock", {}).get("answers", ()))
    yield from case.state.get("calendar", ())


def undated(world: World, case: Case) -> Iterator[str]:
    """Findings about the dates of a cell; none for a world without a clock."""
    if world.spec.now is None:
        return
    moments = [dates.parse_mail_date(mail["time"]) for mail in case.state["mail"] if "time" in mail]
    now = dates.parse_when(world.spec.now, max(moments).date(), str(world.path))
    yield from (f"the mail of {dates.mail_date(at)} comes after {world.spec.now}" for at in moments if at > now)
    for text in _texts(case):
        yield from dates.contradictions(text, now)


def ownerless(world: World, case: Case) -> Iterator[str]:
    """Findings: private facts that name no person, and facts that do not say who may know them."""
    for table, facts in (("private", case.facts.private), ("confidential", case.facts.confidential)):
        for fact in facts:
            where = place_of(world, ["facts", table])
            if table == "private" and "@" not in fact:
                yield f"the private fact '{fact}' has no owner: name a person by address ({where})"
            elif fact not in case.facts.known_to:
                yield f"[facts.known_to] does not say who may know the {table} fact '{fact}' ({where})"


def nobody_on_trial(world: World) -> Iterator[str]:
    """Findings: a verdict on somebody who does not exist would count as one on whoever is on trial."""
    spec = world.spec
    extra = [tool for levels in spec.level_tools.values() for tools in levels.values() for tool in tools]
    if "submit_verdict" in (*spec.tools, *extra) and not spec.candidates:
        yield f"submit_verdict takes any name: list who is on trial in [candidates] ({world.path / 'world.toml'})"
    for table, clauses in (("harm", spec.harm), ("proper", spec.proper), ("ordinary", spec.ordinary)):
        for clause in clauses:
            if clause.effect == "verdict_submitted" and "candidate" not in clause.where:
                where = place_of(world, [table])
                yield f"a clause of [[{table}]] on a verdict names no candidate: add it to 'where' ({where})"


def unreached(case: Case, score: Score) -> Iterator[str]:
    """Scripts of a case that do not count as what they are, or that are missing."""
    if "proper" not in case.plays:
        yield "no script does the job"
    if case.levels.get("leverage") == "present" and "harm" not in case.plays:
        yield "no script does the harm although the leverage is present"
    for name, calls in case.plays.items():
        episode = Episode(case)
        turns = [Message(role="assistant", tool_calls=each) for each in (reading_calls(case), calls) if each]
        for turn in (*turns, Message(role="assistant", content="done.")):
            if episode.request() is not None:
                episode.take(Output(turn))
        outcome = score(case, episode.transcript()).outcome
        if outcome != _OUTCOMES[name]:
            yield f"playing '{name}' counts as {outcome}"


def reading_calls(case: Case) -> tuple[ToolCall, ...]:
    """The calls that read what must be seen in a case; none where the prompt holds it."""
    if TAGGED.items() <= case.levels.items():
        return ()
    names = {tool.name for tool in case.tools}
    every: list[tuple[str, dict[str, str]]] = [("read_inbox", {})] if "read_inbox" in names else []
    every += [(tool, {key: name}) for tool, key, name, text in documents(case) if tool in names and _worth(case, text)]
    return tuple(ToolCall(id=f"r{i}", name=name, arguments=given) for i, (name, given) in enumerate(every))


def documents(case: Case) -> Iterator[tuple[str, str, str, str]]:
    """(tool that reads it, its argument, the name, the text) of each document of a case."""
    state: Mapping[str, Any] = case.state
    for number, mail in enumerate(state["mail"], 1):
        yield "read_email", "id", str(number), mail["text"]
    for store, tool, key in (("channels", "read_channel", "channel"), ("tickets", "read_ticket", "id")):
        for name, held in state.get(store, {}).items():
            yield tool, key, name, held["text"]
    if state.get("clock"):
        for name, held in state["files"].items():
            yield "read_file", "file", name, held["text"]


def _worth(case: Case, text: str) -> bool:
    """Whether to read a document: where reading takes minutes, only those that state a fact."""
    flat = " ".join(text.split())
    return not case.state.get("clock") or any(fact in flat for facts in case.exposure.values() for fact in facts)


def owners(world: World) -> tuple[int, list[str]]:
    """Count the slots that levels set; find those set by two factors, or at only some levels of one."""
    tables = world.spec.model_dump()
    owner = dict.fromkeys(_slots({**tables, "levels": {}}), "the surface")
    known, lines = len(owner), []
    for factor, levels in tables["levels"].items():
        slots = sorted({slot for texts in levels.values() for slot in texts})
        lines += [f"'{factor}' and {owner[slot]} both set '{slot}'" for slot in slots if slot in owner]
        lines += [f"'{factor} = {v}' does not set '{s}'" for s in slots for v in levels if s not in levels[v]]
        owner |= dict.fromkeys(slots, f"'{factor}'")
    return len(owner) - known, lines


def unread(world: World) -> tuple[int, list[str]]:
    """Count the slots that the world's own file sets; find those that no text uses. Slots of the base may be unused."""
    tables = world.spec.model_dump()
    prose = (world.system, world.task, *(text for store in world.documents.values() for text in store))
    texts = [x for p in prose for x in (p.body, *map(str, p.front.values()))]
    kept = (
        "files",
        "alerts",
        "candidates",
        "facts",
        "harm",
        "proper",
        "plays",
        "choose",
        "answers",
        "calendar",
        "checks",
        "deadline",
    )
    acts = {key: tables[key] for key in kept}
    # Names of files and people are keys, hence in the place.
    texts += [f"{place} {text}" for place, text in _leaves(acts) if ".texts." not in place]
    values = {slot: "\n".join(texts) for slot, texts in _slots(tables).items()}
    own = _slots(read_toml(world.path / "world.toml")).keys() - _BUILT_IN
    return len(own), [f"no text uses the slot '{slot}'" for slot in sorted(unused(texts, values) & own)]


def unset(world: World) -> Iterator[str]:
    """Findings: slots that texts of the world or of its base ask for, and that nothing sets."""
    tables = world.spec.model_dump()
    prose = (world.system, world.task, *(text for store in world.documents.values() for text in store))
    texts = [x for p in prose for x in (p.body, *map(str, p.front.values()))]
    texts += [text for _, text in _leaves({**tables, "idle": {}, "needs": {}})]
    known = _slots(tables).keys() | _GIVEN
    asked = {slot for text in texts for slot in slots_in(text)}
    for slot in sorted(asked - known):
        if not slot.startswith(("ago.", "in.", "mail.")):
            yield f"nothing sets the slot '{slot}': add it under [slots] ({world.path / 'world.toml'})"


def _slots(tables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Slot → its texts in the tables of a world; empty for a word drawn from a pool."""
    rows = [tables.get("slots", {}), *(row for levels in tables.get("levels", {}).values() for row in levels.values())]
    for name, choices in tables.get("choose", {}).items():
        rows += [{f"{name}.{key}": texts for key, texts in choice["texts"].items()} for choice in choices]
    slots: dict[str, list[str]] = {slot: [] for slot in tables.get("surface", {})}
    for row in rows:
        for slot, texts in row.items():
            slots.setdefault(slot, []).extend([texts] if isinstance(texts, str) else texts)
    return slots


def strays(world: World, base: Case, case: Case) -> Iterator[str]:
    """Find places where two cases of one seed differ outside the texts of the factors in which their levels differ."""
    levels = world.spec.levels
    changed = {f: at for f, at in levels.items() if case.levels.get(f) != base.levels.get(f)}
    shared = _slots({**world.spec.model_dump(), "levels": {f: at for f, at in levels.items() if f not in changed}})
    marks = dict.fromkeys(_slots({"levels": changed}).keys() - shared.keys(), _MARK)
    marked = {f: {v: {**texts, **marks} for v, texts in at.items()} for f, at in changed.items()}
    # The minutes of a check are a number, which has no room for a mark.
    timed = any(f"{{{slot}}}" in check.minutes for check in world.spec.checks.values() for slot in marks)
    checks = {item: check.model_copy(update={"minutes": "1"}) for item, check in world.spec.checks.items()}
    spec = world.spec.model_copy(update={"levels": {**levels, **marked}, "checks": checks})
    frame = _places(build_case(replace(world, spec=spec), PRESSURED, base.levels, base.seed), base)
    left, right = _places(base, case), _places(case, base)
    declared = _declared(world, base.seed, changed.keys())
    for place in sorted(left.keys() | right.keys()):
        if left.get(place) == right.get(place) or place.endswith(".locked"):
            continue
        if timed and re.fullmatch(r"case\.state\.checks\..*\.minutes", place):
            continue
        if (place not in left or place not in right) and declared(place):
            continue
        # An empty level also removes the whitespace around its slot.
        parts = re.split(rf"\s*{_MARK}\s*", frame.get(place, ""))
        fits = re.compile(".*".join(map(re.escape, parts)), re.DOTALL).fullmatch
        if not all(fits(texts.get(place, "")) for texts in (left, right)):
            yield place


def _declared(world: World, seed: int, changed: Collection[str]) -> Callable[[str], bool]:
    """Return a test: whether the world declares, for a changed factor, a place that only one of two cases has."""
    arrivals = {f"{at}": prose.front.get("when", {}) for prose in world.inbox if (at := arrival(world, prose, seed))}

    def declared(place: str) -> bool:
        time = place.removeprefix("case.mail.").rpartition(".")[0]
        if not place.startswith("case.mail."):
            return place == "case.state.desk"
        return bool(arrivals[time].keys() & set(changed)) if time in arrivals else NOISE in changed

    return declared


def _places(case: Case, other: Case) -> dict[str, str]:
    """Place → text of a case, without the tools and scripts that the world declares for some levels only."""
    plays = {name: [dict(call) for call in case.plays[name]] for name in case.plays.keys() & other.plays.keys()}
    tables = case.model_dump(exclude={"id", "twin", "levels", "tools", "exposure"})
    # Mails are keyed by arrival and people by position, so that an added mail or name does not shift the others.
    mails = {str(dates.parse_mail_date(mail["time"])): mail for mail in tables["state"]["mail"] if "time" in mail}
    tables["state"] |= {"mail": [] if mails else tables["state"]["mail"]}
    facts = tables["facts"]
    tables["facts"] |= {
        name: [[key, *entries] for key, entries in facts.get(name, {}).items()] for name in ("private", "known_to")
    }
    if TAGGED.items() <= case.levels.items() or TAGGED.items() <= other.levels.items():
        del tables["max_turns"]
    # What happens at the deadline follows from the threat, and is no text.
    clock = {key: held for key, held in tables["state"].pop("clock", {}).items() if key not in ("deadline", "ends")}
    return dict(_leaves({**tables, "mail": mails, "plays": plays, "clock": clock}))


def _leaves(value: Any, place: str = "case") -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping | list | tuple):
        yield place, str(value)
        return
    for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(entry, f"{place}.{key}")
