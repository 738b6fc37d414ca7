"""Searches training data for text of the test; the only module that sees training data and test cases together.

Every training set is searched for the canary strings of the worlds and of the labelled set of judges, for the names of
worlds that are not for training, and for passages of dev and held-out cases.  A passage is a run of thirteen words, or
a whole mail or message of any length; a run of eight words is noted.  Names drawn from the word pools are replaced by
one blank, so that a template is found with any names.  Passages that also occur in a case of the train split are
scaffolding (how a task is set, how a threat is worded), which training may show; the rest is text of a held-out world
alone.  A run of thirteen words of which fewer than `SHORT` lie outside runs of eight words of the train split is
scaffolding too: a sentence that all worlds share, and the word or two that stand beside it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.records import Case, Example
from holdfast.core.results import Leakage, LeakageFinding
from holdfast.core.words import words

Kind = Literal["canary", "name", "word", "words-13", "passage", "words-8"]
#: A shared run of this many words is a leak (the length of GPT-3's contamination check, Brown et al. 2020) …
LEAK = 13
#: … one of this many is noted …
NOTE = 8
#: … and a mail of fewer words than this is too common a phrase to count.
SHORT = 6
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SHOWN = 160
_BLANK = "_"


@dataclass(frozen=True)
class TestPassage:
    """Words of a test case that training data must not contain, and the first world that they were found in."""

    words: tuple[str, ...]
    kind: Kind
    world: str


#: First `SHORT` words of a passage → the passages that start with them.
Index = Mapping[str, Sequence[TestPassage]]


def search(
    sets: Mapping[str, Iterable[Example]], cases: Sequence[Case], scaffolding: Sequence[Case], canaries: Sequence[str]
) -> Leakage:
    """Search training sets for test text.

    Args:
        sets: name of the set → its examples.
        cases: every case of the study; those of the train split are not searched for.
        scaffolding: further cases of train worlds, whose text may occur in training data; more cases avoid more false
            findings.
        canaries: strings in the files of worlds and of labelled sets, which must never be trained on.
    """
    hidden = [case for case in cases if case.split != "train"]
    blanks = frozenset(word for language in {case.language for case in hidden} for word in _drawn(language))
    known = [case for case in [*cases, *scaffolding] if case.split == "train"]
    index = _index(hidden, known, blanks)
    names = {case.world: re.compile(rf"(?<![\w-]){re.escape(case.world)}(?![\w-])") for case in hidden}
    hits: dict[tuple[str, Kind, str], list[tuple[str, str]]] = defaultdict(list)
    count = 0
    for name, examples in sets.items():
        for example in examples:
            count += 1
            for kind, world, text in [*_marks(example, canaries, names), *_passages(example, index, blanks)]:
                hits[name, kind, world].append((example.id, text))
    findings = [_finding(*key, found) for key, found in hits.items()]
    findings.sort(key=lambda finding: (not finding.leak, -(finding.count or 0), finding.set, finding.world))
    return Leakage(findings=tuple(findings), checked={"examples": count, "cases": len(hidden)})


def _marks(
    example: Example, canaries: Sequence[str], names: Mapping[str, re.Pattern[str]]
) -> Iterator[tuple[Kind, str, str]]:
    """Find canaries and names of hidden worlds anywhere in an example, including its provenance.

    A name of one word ("research", "rival") proves nothing in a text: there it is noted, and in the provenance a leak.
    """
    whole, origin = example.model_dump_json(), example.provenance.model_dump_json()
    for canary in canaries:
        if canary in whole:
            yield "canary", "", canary
    for world, pattern in names.items():
        if pattern.search(whole):
            yield ("name" if "-" in world or pattern.search(origin) else "word"), world, world


def _passages(example: Example, index: Index, blanks: frozenset[str]) -> Iterator[tuple[Kind, str, str]]:
    """The most serious passage of each hidden world in one example."""
    strongest: dict[str, TestPassage] = {}
    for passage in _found(_words(_example_text(example), blanks), index):
        before = strongest.get(passage.world)
        if before is None or (before.kind == "words-8" and passage.kind != "words-8"):
            strongest[passage.world] = passage
    for passage in strongest.values():
        yield passage.kind, passage.world, " ".join(passage.words)


def _found(text: Sequence[str], index: Index) -> Iterator[TestPassage]:
    for i in range(len(text) - SHORT + 1):
        for passage in index.get(" ".join(text[i : i + SHORT]), ()):
            if tuple(text[i : i + len(passage.words)]) == passage.words:
                yield passage


def _finding(name: str, kind: Kind, world: str, found: Sequence[tuple[str, str]]) -> LeakageFinding:
    example, text = found[0]
    leak = kind not in ("words-8", "word")
    return LeakageFinding(
        set=name, kind=kind, leak=leak, world=world, example=example, text=text[:_SHOWN], count=len(found)
    )


def _index(hidden: Sequence[Case], known: Sequence[Case], blanks: frozenset[str]) -> Index:
    passages: dict[tuple[str, ...], TestPassage] = {}
    shown = {run for case in known for part in _parts(case) for run in _ngrams(_words(part, blanks), NOTE)}
    for case in hidden:
        for part in _parts(case):
            for run, kind in _runs(_words(part, blanks), shown):
                # A whole mail of eight words is a stronger finding than a run of eight words.
                if run not in passages or passages[run].kind == "words-8":
                    passages[run] = TestPassage(run, kind, passages[run].world if run in passages else case.world)
    index = _by_beginning(passages.values())
    in_train = {p.words for case in known for p in _found(_words("\n".join(_parts(case)), blanks), index)}
    return _by_beginning(passage for run, passage in passages.items() if run not in in_train)


def _by_beginning(passages: Iterable[TestPassage]) -> dict[str, list[TestPassage]]:
    index: dict[str, list[TestPassage]] = defaultdict(list)
    for passage in passages:
        index[" ".join(passage.words[:SHORT])].append(passage)
    return dict(index)


def _ngrams(text: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Every run of `n` words, in order."""
    for i in range(len(text) - n + 1):
        yield tuple(text[i : i + n])


def _runs(text: Sequence[str], shown: Set[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], Kind]]:
    """The passages of one mail or message, without those that are mostly names or mostly runs in `shown`."""
    own = [True] * len(text)
    for i, run in enumerate(_ngrams(text, NOTE)):
        if run in shown:
            own[i : i + NOTE] = [False] * NOTE
    kinds: list[tuple[int, Kind]] = [(LEAK, "words-13"), (NOTE, "words-8")]
    if SHORT <= len(text) < LEAK:
        kinds.append((len(text), "passage"))
    for n, kind in kinds:
        for i, run in enumerate(_ngrams(text, n)):
            scaffolding = n == LEAK and sum(own[i : i + n]) < SHORT
            if run.count(_BLANK) <= n // 2 and not scaffolding:
                yield run, kind


def _words(text: str, blanks: frozenset[str]) -> list[str]:
    return [_BLANK if word in blanks else word for word in _WORD.findall(text.lower())]


def _drawn(language: str) -> Iterator[str]:
    """The names that worlds of a language draw: entries of one word, because phrases contain ordinary words too."""
    for pool in words(language).values():
        for entry in pool:
            if " " not in entry:
                yield from _WORD.findall(entry.lower())


def _parts(case: Case) -> list[str]:
    """Everything that a model can read in a case: each message, mail and file separately."""
    return [*(message.content for message in case.messages), *_strings(case.state)]


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
