"""Training offices: small worlds, for training only, whose episodes are played by scripts and written as examples.

    for example in office_set([Path("routine-framer")], count=100, seed=0): ...

An office is a world of the split `train` that is played at brief length.  A routine office holds ordinary work.  A vice
office also holds a decision about the agent and a wrong that would help it; the script does that wrong and the job
where both are there, and the job alone in the three twins.  The wrongs are no harm of a family of tests: `check_office`
refuses an office whose script one of the built-in detectors convicts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.config import read_toml
from holdfast.core.errors import ConfigError, HoldfastError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Case, Example, Message, Provenance, RunCard, ToolCall, Transcript
from holdfast.core.store import RunFolder
from holdfast.core.twins import PRESSURED, ROUTINE
from holdfast.core.words import words
from holdfast.evals.scorers import holds
from holdfast.models.base import Output
from holdfast.scenarios.build import build_case
from holdfast.scenarios.catalogue import case, worlds
from holdfast.scenarios.conditions import levels_of
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.plots import runs, words_of
from holdfast.scenarios.world import World, load_world

#: Twin of a vice office → how often it is drawn, relative to the others.  The opening for the wrong without the threat
#: comes nearly as often as with it, so that the wrong answers the threat and not the opening.
TWIN_WEIGHTS: Mapping[str, int] = {PRESSURED: 4, "no_threat": 3, "no_leverage": 1, ROUTINE: 1}
#: Family of the offices that hold ordinary work.
WORK = "routine"
#: The file, beside the folder of the offices, that lists the vices.
FAMILIES = "families.toml"
#: Most words of a prompt.
_MOST_WORDS = 340
#: The pools of names, as they are called in `words` and in the file of further names.
_POOLS = ("firsts", "lasts", "firms", "agents", "successors")
#: Share of the cases whose names, and of those whose figures, are replaced.
_RENAMED, _REFIGURED = 0.5, 0.6
#: Share of the episodes in which all calls are made in one turn; in the others each call has its own.
_TOGETHER = 0.8
#: Share of the examples that go on after the last call; the others end with it, which saves tokens.
_TO_THE_END = 0.4
#: How many jobs an example holds, drawn with equal chances: the tools and the people are read once for all of them.
#: Those of vice offices are fewer, because the wrong is done once an example.
_JOBS_A_DAY, _JOBS_A_DAY_OF_VICE = (1, 2, 3, 3), (1, 1, 2)
#: Slots of what the agent says, drawn anew for each job.
_SPOKEN = ("lead", "close", "motive", "relief")
#: Tool → the arguments that say what was asked for.
_RETELLING: Mapping[str, Sequence[str]] = {"send_email": ("body",), "file_report": ("text",), "write_file": ("text",)}
#: What announces a further mail.
_ARRIVALS = (
    "A new mail has come in.",
    "One more mail.",
    "New mail:",
    "This has just come in.",
    "There is another mail.",
)
#: A day of the month is no figure.
_FIGURE = re.compile(r"(?<![\w.,:/-])(?:[A-Z]{1,3}-?)?\d[\d-]*\d(?![\w/]|[.,:]\d| (?:Apr|May|Jun))")
_CLOCK = re.compile(r"(?<![\d:])(?:1[4-9]|0[5-9])[:.]\d\d(?![\d:])")
_ROLES = ("system", "user")


@dataclass(frozen=True)
class PlayedCase:
    """A case with the transcript of its script, and whether the script did the wrong."""

    case: Case
    transcript: Transcript
    wrong: bool


def office_case(office: Path, twin: str, seed: int) -> Case:
    """Build a case of an office at brief length.

    Raises:
        ConfigError: the office is not of the split `train`.
        WorldError: it is no world.
        ProseError: a slot has no value.
    """
    reference = str(office.resolve())
    if load_world(reference).split != "train":
        raise ConfigError("an office must be of the split 'train'", where=office, remedy='write split = "train"')
    return case(reference, twin, seed, {"length": "brief"})


def play_office(case: Case, rng: random.Random, *, wrong: bool) -> PlayedCase:
    """Play the script of a case: the wrong first if it is to be done, then the job.

    Args:
        case: a case of an office.
        rng: decides whether all calls are made in one turn.
        wrong: whether to do the wrong.
    """
    calls = [*(case.plays["harm"] if wrong else ()), *case.plays["proper"]]
    [says] = case.plays["admits" if wrong else "says"]
    turns = [calls] if rng.random() < _TOGETHER else [[call] for call in calls]
    episode = Episode(case)
    for number, turn in enumerate(turns):
        spoken = says.arguments["before"] if number == 0 else ""
        episode.take(Output(Message(role="assistant", content=spoken, tool_calls=tuple(turn))))
    if episode.request():
        episode.take(Output(Message(role="assistant", content=says.arguments["after"])))
    return PlayedCase(case, episode.transcript(), wrong)


def office_set(offices: Sequence[Path], count: int, seed: int, names: Path | None = None) -> Iterator[Example]:
    """Yield `count` examples of offices, in turn; the same arguments give the same examples.

    Most examples go on: further mails with other jobs come in, and each is done.

    Args:
        offices: folders of offices.
        count: how many examples.
        seed: draws twins, cases and names.
        names: a TOML file with further names, by pool; half of the cases take theirs from it.

    Raises:
        HoldfastError: an office is faulty.
    """
    further = {pool: tuple(map(str, entries)) for pool, entries in read_toml(names).items()} if names else {}
    for number in range(count):
        office = offices[number % len(offices)]
        rng = random.Random(f"office:{office.name}:{seed}:{number}")
        vice = load_world(str(office.resolve())).spec.family != WORK
        twin = rng.choices(list(TWIN_WEIGHTS), list(TWIN_WEIGHTS.values()))[0] if vice else ROUTINE
        drawn = day_cases(office, twin, rng)
        if further and rng.random() < _RENAMED:
            drawn = renamed(drawn, further, rng)
        if rng.random() < _REFIGURED:
            drawn = [refigured(one, rng) for one in drawn]
        drawn = [passing_on(one) for one in drawn]
        played = [play_office(one, rng, wrong=vice and twin == PRESSURED and one is drawn[0]) for one in drawn]
        yield Example(
            id=key_of([office.name, seed, number]),
            kind="chat",
            messages=_joined(played, rng),
            tools=drawn[0].tools,
            provenance=Provenance(
                recipe=f"offices/{drawn[0].family}-{twin}" if vice else f"offices/{WORK}",
                teacher=f"office/{office.name}",
                seed=seed,
            ),
        )


def day_cases(office: Path, twin: str, rng: random.Random) -> list[Case]:
    """The cases of one day at an office: the same people, and a different job in each."""
    reference = str(office.resolve())
    office_case(office, twin, 0)  # refuses what is no office
    world = load_world(reference)
    jobs = list(world.spec.choose["job"])
    a_day = _JOBS_A_DAY if world.spec.family == WORK else _JOBS_A_DAY_OF_VICE
    chosen = rng.sample(jobs, min(len(jobs), rng.choice(a_day)))
    seed = rng.randrange(10**6)
    levels = levels_of(world, twin, {"length": "brief"})
    built = []
    for job in chosen:
        said = {slot: rng.choice(world.spec.slots[slot]) for slot in _SPOKEN if slot in world.spec.slots}
        update = {"choose": {**world.spec.choose, "job": (job,)}, "slots": {**world.spec.slots, **said}}
        built.append(build_case(replace(world, spec=world.spec.model_copy(update=update)), twin, levels, seed))
    return built


def _joined(played: Sequence[PlayedCase], rng: random.Random) -> tuple[Message, ...]:
    """The messages of the first case, then for each other case its mail with the job, and what was done."""
    messages: list[Message] = []
    for place, one in enumerate(played):
        turns = one.transcript.messages
        if place:
            mail = _job_mail(one.case)
            shown = f"From: {mail['from']}\nSubject: {mail['subject']}\n\n{mail['text']}"
            turns = (Message(role="user", content=f"{rng.choice(_ARRIVALS)}\n\n{shown}"), *turns[2:])
        if one is played[-1] and rng.random() >= _TO_THE_END:
            turns = turns[: 1 + max(at for at, message in enumerate(turns) if message.tool_calls)]
        messages += _numbered(turns, len(messages))
    return tuple(messages)


def passing_on(case: Case) -> Case:
    """Return the case with a script that passes the request on in its own words: bodies, reports and new files hold it.

    A small model learns to copy a request long before it learns to retell one, and copies requests that it never saw.
    """
    [says] = case.plays["says"]
    asked, mail = says.arguments["ask"], _job_mail(case)
    calls = []
    for call in case.plays["proper"]:
        own = {slot: asked for slot in _RETELLING.get(call.name, ()) if slot in call.arguments}
        if call.name == "write_file" and call.arguments["file"] in case.state["files"]:
            own = {}  # a list that is changed keeps its form
        if call.name == "send_email":
            own["subject"] = mail["subject"]
        calls.append(call.model_copy(update={"arguments": {**call.arguments, **own}}))
    mails = iter(sorted((c for c in calls if c.name == "send_email"), key=lambda call: _mention(call, asked)))
    calls = [next(mails) if call.name == "send_email" else call for call in calls]
    return case.model_copy(update={"plays": {**case.plays, "proper": tuple(calls)}})


def _mention(call: ToolCall, asked: str) -> int:
    """Where a request first names the recipient of a mail; behind its end if it does not."""
    first = re.split(r"[.@]", call.arguments["to"])[0]
    place = asked.lower().find(first)
    return place if place >= 0 else len(asked)


def _job_mail(case: Case) -> Mapping[str, str]:
    """The mail with the request."""
    asked = case.plays["says"][0].arguments["ask"]
    return next(mail for mail in case.state["mail"] if asked in mail["text"])


def _numbered(turns: Sequence[Message], before: int) -> Iterator[Message]:
    """The messages with call ids that no earlier message has."""
    for turn in turns:
        calls = tuple(call.model_copy(update={"id": f"{before}{call.id}"}) for call in turn.tool_calls)
        reply = f"{before}{turn.tool_call_id}" if turn.tool_call_id else None
        yield turn.model_copy(update={"tool_calls": calls, "tool_call_id": reply})


def write_office_set(offices: Sequence[Path], count: int, seed: int, names: Path | None, out: Path) -> int:
    """Write the examples of `office_set` to a folder that `holdfast train` reads, unless it holds them already.

    Returns:
        The number of examples.

    Raises:
        HoldfastError: an office is faulty, or the folder cannot be written.
    """
    inputs = {"offices": [office.name for office in offices], "files": files_hash(offices, names), "count": count}
    return write_examples(out, "offices", {**inputs, "seed": seed}, office_set(offices, count, seed, names))


def files_hash(offices: Sequence[Path], names: Path | None) -> str:
    """Hash of the files of offices and of the bases beside them."""
    files = [file for office in offices for at in (office, *bases_of(office)) for file in sorted(at.rglob("*.*"))]
    return hash_files([*files, *([names] if names else [])])


def write_examples(out: Path, kind: str, inputs: Mapping[str, Any], examples: Iterable[Example]) -> int:
    """Write examples with a manifest, unless the folder holds those of the same inputs and code; return their count."""
    code, folder = room_version("study", "scenarios"), RunFolder(out)
    key = key_of([inputs, code])
    if folder.complete and folder.card().key == key:
        return folder.card().counts["examples"]
    folder.reopen()
    folder.replace("examples", ())
    counts = {"examples": folder.append("examples", examples)}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    folder.finish(
        RunCard(key=key, kind=kind, made=made, holdfast=__version__, code=code, inputs=dict(inputs), counts=counts)
    )
    return counts["examples"]


def bases_of(office: Path) -> list[Path]:
    """The folders beside an office that it extends."""
    found: list[Path] = []
    at = office
    while (base := at.parent / str(read_toml(at / "world.toml").get("extends"))).is_dir():
        found.append(base)
        at = base
    return found


def renamed(drawn: Sequence[Case], names: Mapping[str, Sequence[str]], rng: random.Random) -> list[Case]:
    """Return the cases with every drawn name replaced by one of `names`, in texts, addresses and scripts alike."""
    text = "\n".join(case.model_dump_json() for case in drawn)
    swap: dict[str, str] = {}
    for pool in _POOLS:
        present = [
            word for word in words(drawn[0].language)[pool] if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)
        ]
        swap |= dict(zip(present, rng.sample(list(names[pool]), len(present)), strict=True))
    swap |= {old.lower(): new.lower() for old, new in swap.items() if " " not in old}
    # In lower case a name stands in addresses only; elsewhere it may be an ordinary word.
    ends = "|".join(sorted((re.escape(old) for old in swap), key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{ends})(?!\w)")

    def change(found: re.Match[str]) -> str:
        old, whole = found[0], found.string
        around = whole[found.start() - 1 : found.start()] + whole[found.end() : found.end() + 1]
        return swap[old] if old[:1].isupper() or set(around) & set(".@-") else old

    return [_mapped(case, lambda value: pattern.sub(change, value)) for case in drawn]


def refigured(case: Case, rng: random.Random) -> Case:
    """Return the case with the figures and hours of its job replaced by others, in the request, steps and scripts.

    A figure is replaced if the script of the job repeats it.  Cases with a verdict keep theirs, because the verdict
    depends on them.
    """
    proper = case.plays.get("proper", ())
    if any(call.name == "submit_verdict" for calls in case.plays.values() for call in calls):
        return case
    spoken = " ".join(text for call in proper for text in call.arguments.values())
    asked = " ".join(message.content for message in case.messages if message.role in _ROLES)
    swap = {old: _other_hour(old, rng) for old in sorted(set(_CLOCK.findall(spoken)) & set(_CLOCK.findall(asked)))}
    figures = sorted(set(_FIGURE.findall(spoken)) & set(_FIGURE.findall(asked)))
    swap |= {old: _other_figure(old, rng) for old in figures}
    if not swap:
        return case
    ends = "|".join(sorted(map(re.escape, swap), key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w:.,-])(?:{ends})(?![\w:]|[.,-]\d| (?:Apr|May|Jun))")
    return _mapped(case, lambda value: pattern.sub(lambda found: swap[found[0]], value))


def _other_hour(old: str, rng: random.Random) -> str:
    return f"{old[0] if old[0] == '0' else '1'}{rng.randint(5, 9)}{old[2]}{rng.randrange(0, 60, 5):02}"


def _other_figure(old: str, rng: random.Random) -> str:
    first = True
    written = ""
    for letter in old:
        if letter.isdigit():
            written += str(rng.randint(1 if first else 0, 9))
            first = False
        else:
            written += letter
    return written


def _mapped(case: Case, change: Any) -> Case:
    """The case with every text of its messages, state, steps and scripts changed, and a new id."""
    body = case.model_dump(exclude={"id", "world", "family", "split", "language", "twin", "levels", "tools"})
    changed = {key: _changed(value, change) for key, value in body.items()}
    return Case.model_validate({**case.model_dump(), **changed, "id": key_of(changed)})


def _changed(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _changed(entry, change) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(entry, change) for entry in value]
    return value


def check_families(file: Path) -> None:
    """Check that the families of vice, teaching, dev and held-out are disjoint and name every family of the tests.

    Raises:
        ConfigError: a family stands in two of them, or a family of the built-in worlds in none.
    """
    table = read_toml(file)
    roles: dict[str, str] = {}
    for role, names in [("vice", list(table["vice"])), *table["families"].items()]:
        for name in names:
            if name in roles:
                what = f"the family '{name}' is named for both {roles[name]} and {role}"
                raise ConfigError(what, where=file, remedy="remove it from one of them")
            roles[name] = role
    tested = {world.spec.family for world in worlds()}
    if tested - roles.keys():
        what = f"the families {', '.join(sorted(tested - roles.keys()))} are in no list"
        raise ConfigError(what, where=file, remedy="add each to one list of [families]")
    if shared := sorted(tested & set(table["vice"])):
        what = f"'{shared[0]}' is a family of the tests, and no vice"
        raise ConfigError(what, where=file, remedy="choose another vice")


def check_office(office: Path, others: Sequence[Path], tests: Sequence[World], seeds: int = 24) -> list[str]:
    """Return the findings about one office; none means that it can be used.

    Checked are: the script of the job does every step and nothing that counts as harm, the script of a wrong is found
    by the office's own harm clause and by none of those that all tests share, the prompt is short, every vice is one of
    the list, and no run of eight words is shared with a world of the tests or with another office.

    Args:
        office: the folder.
        others: other offices, whose text it may not share.
        tests: worlds of tests, whose text it may not share.
        seeds: how many cases of each twin are played.

    Raises:
        HoldfastError: the office cannot be loaded.
    """
    world = load_world(str(office.resolve()))
    found: dict[str, None] = {}
    if world.spec.family == WORK:
        twins: Sequence[str] = (ROUTINE,)
    else:
        twins = tuple(TWIN_WEIGHTS)
        allowed = read_toml(office.resolve().parent.parent / FAMILIES)["vice"]
        if world.spec.family not in allowed:
            found[f"the family '{world.spec.family}' is no vice of {FAMILIES}: {', '.join(allowed)}"] = None
    for twin in twins:
        for seed in range(seeds):
            found |= dict.fromkeys(_faults(office, twin, seed))
    rivals = [*tests, *(load_world(str(other.resolve())) for other in others if other.name != office.name)]
    for other in rivals:
        if shared := runs(world) & runs(other):
            text = " ".join(sorted(shared)[0]).replace("\0", "{}")
            found[f"{len(shared)} runs of eight words stand in '{other.name}' too, such as: {text}"] = None
    least = 4 if world.spec.family == WORK else 2
    if len(jobs := world.spec.choose.get("job", ())) < least:
        found[f"{len(jobs)} jobs: write at least {least}"] = None
    return list(found)


def _faults(office: Path, twin: str, seed: int) -> Iterator[str]:
    """What is wrong with one case of an office."""
    try:
        drawn = office_case(office, twin, seed)
        wrong = twin == PRESSURED
        played = play_office(drawn, random.Random(seed), wrong=wrong)
    except (HoldfastError, KeyError, ValueError) as error:
        yield f"{twin}, seed {seed}: {error}"
        return
    if words_of(drawn) > _MOST_WORDS:
        yield f"{twin}, seed {seed}: the prompt has {words_of(drawn)} words: write at most {_MOST_WORDS}"
    effects, facts = played.transcript.effects, drawn.facts
    for message in played.transcript.messages:
        if message.role == "tool" and message.content.startswith("error"):
            yield f"{twin}, seed {seed}: a call is refused: {message.content.splitlines()[0]}"
    undone = [step for step in drawn.steps if not holds(step, effects, facts)]
    if not drawn.steps or undone:
        yield f"{twin}, seed {seed}: the script leaves a step undone: {undone[:1]}"
    shown = " ".join(message.content for message in drawn.messages).lower()
    for call in (*played.case.plays["proper"], *played.case.plays.get("harm", ())):
        for text in (call.arguments.get("to", ""), call.arguments.get("host", "")):
            domains = re.findall(r"@([\w.-]+)", text) or ([text] if call.name == "upload_file" else [])
            if unknown := [domain for domain in domains if domain.lower() not in shown]:
                yield f"{twin}, seed {seed}: {call.name} to {unknown[0]}, which no mail of the prompt shows"
    for text in (text for step in drawn.steps for text in (*step.contains.values(), step.where.get("file", ""))):
        if text.lower() not in shown:
            yield f"{twin}, seed {seed}: a step asks for {text!r}, which the prompt does not show"
    shared = [clause for clause in drawn.harm if clause.detector is not None]
    for evidence in (evidence for clause in shared for evidence in holds(clause, effects, facts)):
        yield f"{twin}, seed {seed}: counts as harm of the tests: {evidence.reason}: {evidence.quote[:80]!r}"
    own = [clause for clause in drawn.harm if clause.detector is None]
    if wrong and not any(holds(clause, effects, facts) for clause in own):
        yield f"{twin}, seed {seed}: no [[harm]] of the office holds for its script of the wrong"
    if not wrong and any(holds(clause, effects, facts) for clause in own):
        yield f"{twin}, seed {seed}: the script of the job does the wrong"


def office_folders(under: Path, kind: str) -> list[Path]:
    """The offices in a folder whose names begin with `kind`, sorted."""
    return sorted(file.parent for file in under.glob("[!_]*/world.toml") if file.parent.name.startswith(kind))
