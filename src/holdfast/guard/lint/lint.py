"""Lint by words: read the lint rules from `rules/` and apply their patterns sentence by sentence.

Words miss most of what means harm and is put otherwise; `meaning` asks a model. Rules without patterns are found by
meaning only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field

from holdfast.core.config import read_toml, validate
from holdfast.core.records import Record
from holdfast.detectors.patterns import compiled
from holdfast.guard.lint.against import SENTENCE, asked_against
from holdfast.guard.policy.schema import PolicyFile

RULES = Path(__file__).parent / "rules"
AGAINST_POLICY = "against-policy"
WORDS = "words"
_QUOTED = re.compile(r'"[^"\n]{1,200}"')
_STRAIGHT = str.maketrans("‘’‚“”„«»`", '\'\'\'"""""\'')
_LONGEST_QUOTE = 120


class PatternFamily(Record):
    """Related patterns of a rule.

    Attributes:
        patterns: a match of any of them is a finding.
        unless: a match in the same sentence suppresses the finding.
        absent: a match anywhere in the text suppresses the finding.
        excused: matches are removed before `absent` is searched, because they only resemble it.
    """

    patterns: tuple[str, ...]
    unless: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()


class RuleFile(Record):
    """One rule as stored on disk; without `family` it is found by meaning only."""

    title: str
    why: str
    better: str
    words: Mapping[str, str] = Field(default_factory=dict)
    family: tuple[PatternFamily, ...] = ()


class LintFinding(Record):
    """One finding in a prompt: its place (line and column from 1), the reason and a better wording.

    `by` is the model that found it, or `words`.
    """

    rule: str
    line: int
    column: int
    quote: str
    reason: str
    better: str
    by: str = WORDS


@dataclass(frozen=True)
class _Family:
    patterns: re.Pattern[str]
    unless: re.Pattern[str] | None
    absent: re.Pattern[str] | None
    excused: re.Pattern[str] | None


@cache
def lint_rules() -> Mapping[str, RuleFile]:
    """Return all rules by name.

    Raises:
        ConfigError: a rule file is invalid.
    """
    return {path.stem: validate(read_toml(path), RuleFile, path) for path in sorted(RULES.glob("*.toml"))}


def word_rules() -> tuple[str, ...]:
    """The rules that have patterns; the others are found by meaning only."""
    return tuple(name for name, rule in lint_rules().items() if rule.family)


def policy_findings(text: str, policy: PolicyFile) -> list[LintFinding]:
    """Return only the requests in a prompt that the policy denies or holds, which no model is asked about."""
    return [finding for finding in lint_prompt(text, policy) if finding.rule == AGAINST_POLICY]


@cache
def _families(name: str) -> tuple[_Family, ...]:
    rule, path = lint_rules()[name], RULES / f"{name}.toml"

    def made(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
        return compiled(patterns, rule.words, path) if patterns else None

    return tuple(
        _Family(compiled(f.patterns, rule.words, path), made(f.unless), made(f.absent), made(f.excused))
        for f in rule.family
    )


def lint_prompt(text: str, policy: PolicyFile | None = None) -> list[LintFinding]:
    """Return the incentives to harm that the word rules find in a prompt, in the order of the text.

    Args:
        text: a system prompt, a goal, or a tool's description.
        policy: the agent's policy; without it, contradictions to the policy are not checked.

    Raises:
        ConfigError: a rule file is invalid.
    """
    clear = _even(text)
    found: dict[tuple[str, int], tuple[int, str]] = {}
    for name in lint_rules():
        if name == AGAINST_POLICY:
            hits = _contradictions(clear, policy) if policy else ()
        else:
            hits = _hits(clear, _families(name))
        for start, end in hits:
            found.setdefault((name, clear.count("\n", 0, start)), (start, text[start:end]))
    return [lint_finding(text, rule, start, quote) for (rule, _), (start, quote) in sorted(found.items(), key=_place)]


def _place(item: tuple[tuple[str, int], tuple[int, str]]) -> tuple[int, str]:
    return item[1][0], item[0][0]


def lint_finding(text: str, rule: str, start: int, quote: str, by: str = WORDS) -> LintFinding:
    """Return a finding at a place of a text, in characters from 0."""
    line, column = text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1
    entry = lint_rules()[rule]
    short = " ".join(quote.split())[:_LONGEST_QUOTE]
    return LintFinding(rule=rule, line=line, column=column, quote=short, reason=entry.why, better=entry.better, by=by)


def _even(text: str) -> str:
    """Return the text in lower case with straight quotes and quoted words masked, at unchanged positions."""
    lower = "".join(low if len(low := char.lower()) == 1 else char for char in text.translate(_STRAIGHT))
    return _QUOTED.sub(lambda m: '"' + "_" * (len(m[0]) - 2) + '"', lower)


def _hits(text: str, families: tuple[_Family, ...]) -> Iterator[tuple[int, int]]:
    """Yield the position of each family's first match in each sentence."""
    for family in families:
        counted = family.excused.sub(" ", text) if family.excused else text
        if family.absent and family.absent.search(counted):
            continue
        for sentence in SENTENCE.finditer(text):
            stripped = sentence[0].lstrip()
            hit = family.patterns.search(stripped)
            if hit and not (family.unless and family.unless.search(stripped)):
                start = sentence.end() - len(stripped)
                yield start + hit.start(), start + hit.end()
                if family.absent:
                    break


def _contradictions(text: str, policy: PolicyFile) -> Iterator[tuple[int, int]]:
    """Yield requests that the policy denies, and statements that required approvals are not needed."""
    yield from asked_against(text, policy)
    if any(rule.answer == "hold" for rule in policy.rules):
        yield from _hits(text, _families(AGAINST_POLICY))
