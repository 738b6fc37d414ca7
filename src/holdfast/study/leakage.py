"""The only place that sees training data and test cases side by side: has any of the test reached the training?

Three searches over every training set: the canary strings of the worlds, the names of worlds that are not for training,
and runs of words shared with a dev or held-out case.  Names drawn from the word pools count as one blank, so that a
template leaks whoever it names.  Runs that also occur in a case of the train split are scaffolding (how a task is set,
how a mail looks), which training may show; what is left is a held-out world's own text.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.records import Case, Example, Record
from holdfast.core.words import words

#: A shared run of this many words is a leak (the length GPT-3's contamination check used, Brown et al. 2020) …
LEAK = 13
#: … and one of this many is worth a note.
NOTE = 8
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SHOWN = 160
_BLANK = "_"


class Finding(Record):
    """Test text in one training set; `example` and `text` show the first of `count` examples that hold it."""

    set: str
    kind: Literal["canary", "name", "words-13", "words-8"]
    #: whether it is a leak; otherwise it is a note
    leak: bool
    world: str
    example: str
    text: str
    count: int


class Leakage(Record):
    """All findings, worst first, and how much was searched."""

    findings: tuple[Finding, ...] = ()
    checked: Mapping[str, int] = {}

    @property
    def leaking(self) -> frozenset[str]:
        """The training sets that leak."""
        return frozenset(finding.set for finding in self.findings if finding.leak)


@dataclass(frozen=True)
class Runs:
    """What shared words are looked up in: the names that count as blanks, and length → run → world."""

    drawn: frozenset[str]
    grams: Mapping[int, Mapping[str, str]]


def search(sets: Mapping[str, Iterable[Example]], cases: Sequence[Case], canaries: Sequence[str]) -> Leakage:
    """Search training sets for test text.

    Args:
        sets: name of the set → its examples.
        cases: every case of the study; those of the train split tell scaffolding from content.
        canaries: strings that stand in world files and must never be trained on.
    """
    hidden = [case for case in cases if case.split != "train"]
    drawn = frozenset(word for language in {case.language for case in cases} for word in _drawn(language))
    grams = {n: _grams_by_world(cases, drawn, n) for n in (LEAK, NOTE)}
    names = {case.world: re.compile(rf"(?<![\w-]){re.escape(case.world)}(?![\w-])") for case in hidden}
    hits: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    count = 0
    for name, examples in sets.items():
        for example in examples:
            count += 1
            for kind, world, text in _search_one(example, canaries, names, Runs(drawn, grams)):
                hits[name, kind, world].append((example.id, text))
    findings = [_finding(*key, found) for key, found in hits.items()]
    findings.sort(key=lambda finding: (not finding.leak, -finding.count, finding.set, finding.world))
    return Leakage(findings=tuple(findings), checked={"examples": count, "cases": len(hidden)})


def _search_one(
    example: Example,
    canaries: Sequence[str],
    names: Mapping[str, re.Pattern[str]],
    runs: Runs,
) -> Iterator[tuple[str, str, str]]:
    """Each (kind, world, text) found in one example, one a world at most, the longest kind of run only."""
    whole = example.model_dump_json()
    for canary in canaries:
        if canary in whole:
            yield "canary", "", canary
    for world, pattern in names.items():
        if pattern.search(whole):
            yield "name", world, world
    said = _words(_example_text(example), runs.drawn)
    seen: set[str] = set()
    for n in (LEAK, NOTE):
        for gram in _grams(said, n):
            source = runs.grams[n].get(gram)
            if source is not None and source not in seen:
                seen.add(source)
                yield f"words-{n}", source, gram


def _finding(name: str, kind: Any, world: str, found: Sequence[tuple[str, str]]) -> Finding:
    example, text = found[0]
    leak = kind != f"words-{NOTE}"
    return Finding(set=name, kind=kind, leak=leak, world=world, example=example, text=text[:_SHOWN], count=len(found))


def _grams_by_world(cases: Sequence[Case], drawn: frozenset[str], n: int) -> dict[str, str]:
    """Each run of `n` words that only dev and held-out cases hold, and the first world that holds it."""
    read = [(case, set(_grams(_words(_case_text(case), drawn), n))) for case in cases]
    scaffolding = {gram for case, grams in read if case.split == "train" for gram in grams}
    found: dict[str, str] = {}
    for case, grams in read:
        for gram in grams - scaffolding if case.split != "train" else ():
            found.setdefault(gram, case.world)
    return found


def _grams(words: Sequence[str], n: int) -> Iterator[str]:
    """Runs of `n` words, those that are mostly blanks left out."""
    runs = (words[i : i + n] for i in range(len(words) - n + 1))
    return (" ".join(run) for run in runs if run.count(_BLANK) <= n // 2)


def _words(text: str, drawn: frozenset[str]) -> list[str]:
    return [_BLANK if word in drawn else word for word in _WORD.findall(text.lower())]


def _drawn(language: str) -> Iterator[str]:
    """The names that worlds of a language draw: entries of one word, since phrases hold words of their own."""
    for pool in words(language).values():
        for entry in pool:
            if " " not in entry:
                yield from _WORD.findall(entry.lower())


def _case_text(case: Case) -> str:
    """Everything a model can read in a case: its messages and, through tools, its state."""
    return "\n".join([*(message.content for message in case.messages), *_strings(case.state)])


def _example_text(example: Example) -> str:
    calls = [json.dumps(dict(c.arguments), ensure_ascii=False) for m in example.messages for c in m.tool_calls]
    spoken = [part for m in example.messages for part in (m.content, m.reasoning or "")]
    return "\n".join([example.text, *spoken, *calls])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _strings(part)
