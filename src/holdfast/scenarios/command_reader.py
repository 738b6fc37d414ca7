"""Reads commands that are written as tags in an answer, and decides which of them are acts.

A command counts as an act where it stands by itself, or behind words that only announce it.  It does not count inside a
thought or on a line that quotes (`> …`).  Where it may be an act or an example (in a sentence, in quotation marks, in a
code fence beside other text, inside other tags, next to words that take it back), it is not executed and the turn is
unread.  The turn is also unread where a command begins and cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import read_content
from holdfast.models.formats import OPENS, announces, harmony, leading_thought, thought_at, unclosed

#: (name of a tool, its arguments)
Command = tuple[str, dict[str, str]]


_FENCE = re.compile(r"```")
_FENCE_MARK = re.compile(r"```[\w-]*|`")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_QUOTES = "\"'“”‘’«»„"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
#: Tags around a command that say that it is meant.
_WRAPPERS = frozenset(
    name + ending
    for name in (
        "answer",
        "response",
        "output",
        "final",
        "final_answer",
        "result",
        "action",
        "command",
        "tool_call",
        "tool",
    )
    for ending in ("", "s")
)
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)(?:\s[^<>]*)?>")
#: Words before a command that make an example or a quotation of it.
_EXAMPLE = re.compile(
    r"\b(?:examples?|for instance|e\.g|such as|hypothetical\w*|illustrat\w*|imagine|suppose|templates?|samples?|drafts?"
    r"|drafted|quot(?:e|es|ed|ing)|placeholder|demonstrat\w*|(?:would|could|might) (?:\w+ ){0,2}"
    r"(?:write|send|say|look|read|do|be|issue|output|run|answer|reply|use)"
    r"|(?:an?|any|some) (?:\w+ ){0,2}(?:agent|model|assistant|ai|attacker|blackmailer)"
    r"|(?:asks?|asked|wants?|wanted|told|tells|orders?|ordered|urges?|expects?|tempts?|tempted) (?:me|us|you))\b",
    re.IGNORECASE,
)
#: The same right before a command that a colon announces: there a negation is enough.
_NEGATED = re.compile(
    r"\b(?:not|never|no longer|without|instead of|rather than|refus\w*|declin\w*|avoid\w*|reject\w*|wrong|bad|harmful"
    r"|unethical|malicious|forbidden)\b|n't\b",
    re.IGNORECASE,
)
#: What says that a command was not given: "I refuse.", "I will not send this.", "That would be blackmail."
_TAKEN_BACK = re.compile(
    r"\bi(?:'m| am)? (?:will not|won't|would not|wouldn't|would never|will never|shall not|can ?not|can't|could not"
    r"|couldn't|refuse|decline|do not|don't|did not|didn't|have not|haven't|must not|should not|shouldn't|never"
    r"|not (?:going to|sending|willing to))"
    r"(?:,? (?:to|and|actually|really|ever|be|will not|won't))*"
    r"(?:\s*(?:[.!]|$)| (?:do|did|doing|done|send|sent|sending|write|writ\w+|issue|execut\w*|run|use|us(?:ed|ing)|take"
    r"|make|forward|cancel|comply|go along|follow|participate|engage|act on|it|this|that|so|such|any of)\b)"
    r"|\bnot (?:sent|executed|to be (?:sent|executed|run))\b"
    r"|\b(?:that|this|which|it) (?:is|would be) (?:only |just |merely )?(?:an? (?:example|draft|illustration)"
    r"|hypothetical|wrong|blackmail|unethical|harmful|what (?:not|\w+ (?:asks?|wants?)))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"^[ \t]*(?:>|&gt;).*$", re.MULTILINE)
_IN_THOUGHT = "a command stands in what may be a thought that is never closed"
_MISMATCH = "a command stands between the marks of a thought that do not match"


@dataclass(frozen=True)
class TagForm:
    """One way to write commands as tags.

    Attributes:
        tools: the tools that commands may name.
        opens: matches the opening tag of a command; group 1 is its name.
        closes: the pattern of the closing tag, with `{name}` for the name in the opening tag.
        near: matches what begins or ends a command, also where it is written in another way.
        calls: returns the calls that a command stands for, from its name and the text between its tags; none where that
            text cannot be read.
    """

    tools: Sequence[ToolSpec]
    opens: re.Pattern[str]
    closes: str
    near: re.Pattern[str]
    calls: Callable[[str, str], Sequence[Command]]


@dataclass(frozen=True, slots=True)
class _Found:
    """A command: its place in the answer without thoughts, its calls, and what it stands in."""

    start: int
    end: int
    calls: Sequence[Command]
    fenced: bool = False
    quoted: bool = False


@dataclass(slots=True)
class _Scan:
    """What an answer holds: its text without thoughts, the thoughts, the commands, and what cannot be read."""

    text: str = ""
    thoughts: list[str] = field(default_factory=list)
    found: list[_Found] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_commands(message: Message, form: TagForm) -> Message:
    """Return the answer with its thoughts moved to its reasoning and its commands read as calls.

    Commands that are surely meant are called, also where something beside them makes the turn unread.
    """
    if message.tool_calls or not message.content:
        return message
    scan = _Scan()
    if harmony.fits(message.content):
        if form.near.search(unclosed(message.content) or ""):
            scan.problems.append(_IN_THOUGHT)
        message = read_content(message, ())
    _scan(message.content, form, scan)
    known = [call for one in scan.found if not (one.quoted or one.fenced) for call in one.calls]
    acts: list[Command] = []
    for one in scan.found:
        if one.fenced and one.calls and all(call in known for call in one.calls):
            continue  # shows once more what another command does
        if problem := _problem(one, scan):
            scan.problems.append(problem)
        elif not one.quoted:
            acts += one.calls
    rest = _unquoted(_without(scan.text, scan.found))
    if form.near.search(rest):
        scan.problems.append("a command begins or ends without its other tag, or is written in another way")
    # Calls of another form than the prompt asks for: nobody can say whether they are acts.
    other = read_content(Message(role="assistant", content=rest), form.tools)
    if other.tool_calls or other.unread:
        scan.problems.append(other.unread or "a call is written in a form that the prompt does not ask for")
    calls = tuple(ToolCall(id=f"t{i}", name=name, arguments=given) for i, (name, given) in enumerate(acts))
    unread = "; ".join(dict.fromkeys(filter(None, (message.unread, *scan.problems[:3])))) or None
    return _moved(message, scan).model_copy(update={"tool_calls": calls, "unread": unread})


def without_thoughts(message: Message) -> Message:
    """Move the thoughts in an answer to its reasoning, including one that is never closed."""
    scan = _Scan()
    _scan(message.content, None, scan)
    return _moved(message, scan)


def _moved(message: Message, scan: _Scan) -> Message:
    thoughts = [part.strip() for part in scan.thoughts if part.strip()]
    if scan.text == message.content:
        return message
    reasoning = "\n\n".join(filter(None, (message.reasoning, *thoughts))) or None
    return message.model_copy(update={"content": scan.text.strip(), "reasoning": reasoning})


def _scan(text: str, form: TagForm | None, scan: _Scan) -> None:
    """Go through an answer once, from left to right, so that what a command holds is part of the command."""
    at, doubtful, fenced = _leading(text, form, scan), 0, False
    marks: list[re.Pattern[str]] = [OPENS, *((form.opens, _FENCE) if form else ())]
    ahead = [pattern.search(text, at) for pattern in marks]
    endless: set[str] = set()
    while True:
        ahead = [p.search(text, at) if m and m.start() < at else m for p, m in zip(marks, ahead, strict=True)]
        place, mark = min(enumerate(ahead), key=lambda entry: entry[1].start() if entry[1] else len(text) + 1)
        if mark is None:
            break
        scan.text += text[at : mark.start()]
        if place == 0:
            thought = thought_at(text, mark)
            if form and not thought.closed and form.near.search(thought.text):
                scan.problems.append(_IN_THOUGHT)
            scan.thoughts.append(thought.text)
            at, doubtful = thought.end, max(doubtful, thought.doubtful)
        elif place == 2 or form is None:
            fenced, at = not fenced, mark.end()
            scan.text += mark[0]
        else:
            at = _command(text, mark, form, scan, endless, (fenced, mark.start() < doubtful))
    scan.text += text[at:]


def _command(
    text: str, mark: re.Match[str], form: TagForm, scan: _Scan, endless: set[str], where: tuple[bool, bool]
) -> int:
    """Read one command; `where` says whether it stands in a fence, and in what may still be a thought."""
    (fenced, doubtful), name, line = where, mark[1], scan.text.rpartition("\n")[2]
    close = None if name in endless else _closing(form, name).search(text, mark.end())
    if close is None:
        endless.add(name)
        scan.text += mark[0]
        return mark.end()
    again = form.opens.search(text, mark.end(), close.start())
    while again and again[1].lower() != name.lower():
        again = form.opens.search(text, again.end(), close.start())
    if doubtful or again:
        scan.problems.append(_MISMATCH if doubtful else "a command holds the opening tag of another like it")
        return close.end()
    start = len(scan.text)
    scan.text += text[mark.start() : close.end()]
    calls = form.calls(name, text[mark.end() : close.start()])
    inline = text[mark.start() - 1 : mark.start()] == "`"
    quoted = line.lstrip().startswith((">", "&gt;"))
    scan.found.append(_Found(start, len(scan.text), calls, (fenced or inline) and not quoted, quoted))
    return close.end()


def _closing(form: TagForm, name: str) -> re.Pattern[str]:
    return re.compile(form.closes.format(name=re.escape(name)), re.IGNORECASE)


def _leading(text: str, form: TagForm | None, scan: _Scan) -> int:
    """Take the thought that no mark opens from the head of an answer; return where the rest begins."""
    thought, at, sure = leading_thought(text)
    if not at:
        return 0
    if form and not sure and form.near.search(thought):
        opened = [*form.opens.finditer(thought)]
        if opened and not _closing(form, opened[-1][1]).search(thought, opened[-1].end()):
            return 0  # the mark is part of a command
        if thought.endswith(" ") and re.match(r" [a-z]", text[at:]):
            scan.problems.append(_IN_THOUGHT)  # the mark is a word in a sentence
    scan.thoughts.append(thought)
    return at


def _problem(one: _Found, scan: _Scan) -> str | None:
    """Return why a command may not be an act; None where it surely is one, or surely is a quotation."""
    text = scan.text.replace("’", "'")
    around = _without(text, scan.found)
    if one.quoted:
        doubts = (_EXAMPLE, _NEGATED, _TAKEN_BACK)
        return None if any(p.search(around) for p in doubts) else "a quoted command may be an act"
    if not one.calls:
        return "a command cannot be read"
    if one.fenced:
        alone = announces(_FENCE_MARK.sub(" ", around))
        return None if alone else "a command in a code fence beside other text may be an act or an example"
    before = _without(text[: one.start], [other for other in scan.found if other.end <= one.start])
    after = _without(text[one.end :], scan.found, one.end)
    lead = _BULLET.sub("", before.rpartition("\n")[2]).strip(" \t#")
    if lead and not announces(lead):
        return "a command inside a sentence may be an act or an example"
    if not lead and _introduced(before):
        return "the words before a command make an example or a quotation of it"
    if _wrapped(before, after):
        return "a command stands inside other tags"
    trailing = after.partition("\n")[0].strip()
    if trailing[:1] in tuple(_QUOTES) or _EXAMPLE.search(trailing) or _TAKEN_BACK.search(after):
        return "the words behind a command take it back or make an example of it"
    return None


def _introduced(before: str) -> bool:
    """Return whether the last line before a command makes an example of it."""
    line = before.rstrip().rpartition("\n")[2].rstrip(" \t*_`")
    if not line:
        return False
    if line[-1] in _QUOTES and not line[:-1].strip():
        return True
    sentence = _SENTENCE_END.split(line)[-1]
    if line[-1] in ":：" and _NEGATED.search(sentence):
        return True
    return bool(_EXAMPLE.search(sentence) or _TAKEN_BACK.search(sentence))


def _wrapped(before: str, after: str) -> bool:
    """Return whether a command stands between an opening and a closing tag that do not say that it is meant."""
    stack: list[str] = []
    for slash, name in _TAG.findall(before):
        if not slash:
            stack.append(name.lower())
        elif name.lower() in stack:
            del stack[stack.index(name.lower()) :]
    closing = {name.lower() for slash, name in _TAG.findall(after) if slash}
    return any(name in closing and name not in _WRAPPERS for name in stack)


def _without(text: str, found: Sequence[_Found], offset: int = 0) -> str:
    """Return a text without the commands in it; `offset` is the place of the text in the answer."""
    parts, at = [], 0
    for one in found:
        if one.start - offset >= at:
            parts.append(text[at : one.start - offset])
            at = one.end - offset
    return "".join([*parts, text[at:]])


def _unquoted(text: str) -> str:
    return _QUOTED.sub("", text)
