"""Finds thoughts in a turn: the text between the marks of reasoning, in which no call is executed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from holdfast.models.formats import harmony

#: Names of tags for reasoning. They are matched in any letter case, with a namespace and with attributes.
_NAMES = (
    r"think(?:ing)?|antthinking|thoughts?|reasoning|reflections?|analysis|deliberation|rationale|cot|monologue"
    r"|scratch[-_ ]?pad(?:[-_ ]?reasoning)?|chain[-_]of[-_]thoughts?"
    r"|(?:inner|internal|private|hidden)[-_](?:monologue|thoughts?|thinking|reasoning)"
)
_NAME = rf"(?:\w+:)?(?:{_NAMES})(?::\w+)?"
_TAG = rf"<\s*{_NAME}(?:\s[^<>]*)?(?<!/)>"
#: Only these names are matched in brackets: others occur as the text of links.
_BRACKETED = r"\[(?:think(?:ing)?|reasoning|scratchpad)\]"
#: Opening and closing marks in other forms.
PAIRS: tuple[tuple[str, str], ...] = (
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|think|>", "<|end|>"),
    ("◁think▷", "◁/think▷"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)
_CLOSES = {opens.lower(): closes for opens, closes in PAIRS}
_MARKS = "|".join(re.escape(opens) for opens, _ in PAIRS[:-1])
#: Any opening mark; the pattern has no groups and contains its own flags.
OPENS = re.compile(rf"(?i:{_TAG}|{_BRACKETED}|{_MARKS})")
_ANY_OPEN = re.compile(rf"{OPENS.pattern}|{re.escape(PAIRS[-1][0])}")
_ENDS = "|".join(re.escape(closes) for _, closes in PAIRS if closes != "<|end|>")
#: A closing mark that only the end of a thought has.
LONE = re.compile(rf"(?i:<\s*/\s*{_NAME}\s*>|\[/(?:think(?:ing)?|reasoning|scratchpad)\]|{_ENDS})")
#: Output of gpt-oss that was decoded without its special tokens.
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\W])(?P<thought>.*?)assistant\s?final", re.DOTALL)

#: Maximum number of marks of one name that are paired; with more the text is ambiguous.
_MOST_MARKS = 200


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought in a text.

    Attributes:
        start: where its opening mark begins.
        text: the text between its marks.
        end: the position after it; the end of the text if it is never closed.
        closed: whether it has a closing mark.
        doubtful: the thought may also end here instead of at `end`, because its marks do not match one to one; equal
            to `end` if only one reading is possible.
    """

    start: int
    text: str
    end: int
    closed: bool
    doubtful: int


def closing(opens: str) -> re.Pattern[str]:
    """Return the pattern of the closing mark for an opening mark."""
    return _marks_of(opens.lower())[0]


@lru_cache(maxsize=256)
def _marks_of(opens: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the pattern of the closing mark; and one that also matches, as group 1, the same opening mark again."""
    if (mark := _CLOSES.get(opens)) is not None:
        close, again = re.escape(mark), re.escape(opens)
    else:
        name = re.escape(opens.strip("<>[]").split()[0])
        name = "think(?:ing)?" if name in ("think", "thinking") else name
        close, again = rf"<\s*/\s*{name}\s*>|\[/{name}\]", rf"<\s*{name}(?:\s[^<>]*)?(?<!/)>|\[{name}\]"
    return re.compile(close, re.IGNORECASE), re.compile(rf"({again})|{close}", re.IGNORECASE)


def thought_at(text: str, opened: re.Match[str]) -> Thought:
    """Return the thought that a match of `OPENS` begins; nested thoughts of the same name are part of it."""
    marks = _marks_of(opened[0].lower())[1].finditer(text, opened.end())
    depth, first = 1, None
    for count, mark in enumerate(marks):
        if count == _MOST_MARKS:
            break
        depth += 1 if mark[1] else -1
        first = first or (None if mark[1] else mark)
        if depth == 0:
            behind = next(marks, None)
            doubtful = behind.end() if behind and not behind[1] else mark.end()
            return Thought(opened.start(), text[opened.end() : mark.start()], mark.end(), True, doubtful)
    else:
        if first is not None:
            return Thought(opened.start(), text[opened.end() : first.start()], first.end(), True, len(text))
    return Thought(opened.start(), text[opened.end() :], len(text), False, len(text))


def open_mark(prompt: str) -> str | None:
    """Return the mark of a thought that a prompt opens and does not close: the turn begins with reasoning.

    Args:
        prompt: the prompt's end, from after the last message.
    """
    marks = list(_ANY_OPEN.finditer(prompt))
    return marks[-1][0] if marks and not prompt[marks[-1].end() :].strip() else None


def unclosed(text: str) -> str | None:
    """Return the text of a thought that is opened and never closed; None if all thoughts are closed."""
    if harmony.fits(text):
        *_, last = harmony.messages(text)
        return last.text if last.channel == "analysis" and not last.closed else None
    at = 0
    while opened := OPENS.search(text, at):
        thought = thought_at(text, opened)
        if not thought.closed:
            return thought.text
        at = thought.end
    return None


def leading_thought(text: str) -> tuple[str, int, bool]:
    """Return a thought without an opening mark, the position after it, and whether it is certainly a thought.

    A closing mark without an opening one ends such a thought: the prompt opened it.  So does the name of the final
    channel if the special tokens of gpt-oss are missing.  Without either the thought is empty.
    """
    if found := _BARE_CHANNELS.match(text):
        return found["thought"], found.end(), True
    lone, before = LONE.search(text), OPENS.search(text)
    if lone and (before is None or before.start() > lone.start()):
        return text[: lone.start()], lone.end(), False
    return "", 0, True
