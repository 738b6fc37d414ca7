"""Parses one assistant turn into reasoning, text, tool calls, and the reasons why something is unreadable.

The parser goes through a turn once, from left to right, so that a mark inside an argument is part of that argument.  It
distinguishes three kinds:

- A call between the marks of a format is a call at any position, as servers parse it.  In a code fence, or in a format
  that the model's own template does not write, it counts as the next kind.
- A call without marks (bare JSON, Python, a fence) is a call only if the turn contains nothing else, except a few words
  that announce it.  Beside other text it could be an example, so the turn is unread.
- Text that begins like a call but has no reading, or several, makes the turn unread.  Readable calls beside it stay.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.formats import bodies, harmony, reasoning, values
from holdfast.models.formats.bodies import Call, Offered
from holdfast.models.formats.loose import loose_call
from holdfast.models.formats.table import BEGINS, ENDS, TABLE
from holdfast.models.formats.values import Foreign, Unreadable, argument_texts

#: Remaining quotes, brackets and fences between a call and its closing mark.
_STRAY = re.compile(r"[\s\"'`}\]),;]*")
#: Characters around a call without meaning.
_NOTHING = re.compile(r"[\s`\"',;.{}\[\]()]+")
_FENCE = re.compile(r"(?:`{3,}|~{3,})[\w-]*[ \t]*\n?")
_FENCE_MARK = re.compile(r"`{3,}|~{3,}")
_FENCE_END = re.compile(rf"\s*(?:{_FENCE_MARK.pattern})")
#: Words that announce a call.  After other words, or with one of `_DOUBTS`, the call may be an example.
_ANNOUNCES = re.compile(
    r"(?:(?:sure|certainly|ok(?:ay)?|of course|alright|understood|yes|right|great|done|now|first|next|then|finally)\b"
    r"[\s,.!:;-]*)*"
    r"(?:(?:here(?:'s| is| are)|i(?:'ll| will|'m going to| am going to| need to| have to)|let me|let's|let us|to\b"
    r"|calling|reading|sending|checking|looking|action|tool call|function call|the next step)\b[^\n]{0,160})?[\s:.!]*",
    re.IGNORECASE,
)
_DOUBTS = re.compile(
    r"\b(?:not|never|no|nor|without|refus\w*|declin\w*|instead|examples?|e\.g|would|could|might|may|if|unless|suppose"
    r"|imagine|hypothetical\w*|such as|like this|looks?|format|form|template|sample|avoid\w*|wrong|harm\w*|but|cannot"
    r"|quot\w*|draft\w*|ask(?:ed|s)?|wants?|show(?:s|ing)?|someone|agents?|user|they|he|she)\b|n't|\?",
    re.IGNORECASE,
)
_MARKS = "|".join(f"(?P<f{i}>{row.opens})" for i, row in enumerate(TABLE))
_JSON = r"(?P<json>\{(?=\s*(?:\\*[\"']|&quot;))|\[(?=\s*[\"']?\{)|\"(?=\s*\[?\s*\{\s*\\\"))"


#: Characters at the beginning of a text in which a call has its name.
_HEAD = 400


@dataclass(frozen=True, slots=True)
class Reading:
    """A parsed turn; `formats` are the formats of its calls, `end` is the position after the last call."""

    message: Message
    formats: tuple[str, ...] = ()
    end: int = 0


@dataclass(slots=True)
class _Found:
    """Calls in a part of a text; `marked` is true for calls that count at any position."""

    start: int
    end: int
    calls: list[Call]
    format: str
    marked: bool


@dataclass(slots=True)
class _Scan:
    """The findings in a text so far."""

    found: list[_Found] = field(default_factory=list)
    thoughts: list[tuple[int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: Reasoning whose marks do not match may extend to this position.
    doubtful: int = 0


def read_turn(
    text: str,
    tools: Sequence[ToolSpec] | None = None,
    *,
    native: Sequence[str] = (),
    opened: str | None = None,
    cut: bool = False,
) -> Reading:
    """Parse one turn; never raises.

    Args:
        text: the completion, including special tokens that are part of calls and reasoning.
        tools: the tools of the request; None if unknown, so that any name may be a tool.
        native: names of the formats that the model's own template writes; empty if unknown.
        opened: the mark of reasoning that the prompt opened, or None.
        cut: whether the completion was truncated, so that a call without its closing mark is incomplete.
    """
    offered = None if tools is None else {tool.name: tuple(tool.parameters) for tool in tools}
    if harmony.fits(text):
        return _harmony(text, offered, native, cut)
    start, thought = 0, ""
    if opened:
        close = reasoning.closing(opened).search(text)
        if close is None:
            return _never_closed(text, offered, cut)
        thought, start = text[: close.start()], close.end()
    else:
        thought, start, sure = reasoning.leading_thought(text)
        if not sure and _scan(thought, 0, offered, cut).found:
            thought, start = "", 0
    scan = _scan(text, start, offered, cut)
    scan.reasons.insert(0, thought)
    scan.thoughts.insert(0, (0, start))
    return _settled(text, scan, offered, native, cut)


def _never_closed(text: str, offered: Offered | None, cut: bool) -> Reading:
    unread = "there is a call in reasoning that is never closed" if not cut and _calls(text, offered) else None
    return Reading(Message(role="assistant", reasoning=text.strip() or None, unread=unread))


@lru_cache(maxsize=64)
def _next(names: tuple[str, ...] | None) -> re.Pattern[str]:
    """Make the pattern for the start of reasoning, of a fence or of a call, for tools with these names."""
    name = "|".join(map(re.escape, names)) if names else r"[A-Za-z_][\w.]*" if names is None else r"(?!)"
    prefix = r"(?:print\(\s*)?(?:\[\s*)?(?:functions\.|default_api\.)?"
    python = rf"(?P<python>(?<![\w.]){prefix}(?:{name})\((?=\s*(?:\)|\w+\s*=)))"
    return re.compile(
        rf"(?P<think>{reasoning.OPENS.pattern})|{_MARKS}|(?P<fence>{_FENCE_MARK.pattern})|{_JSON}|{python}"
    )


def _scan(text: str, at: int, offered: Offered | None, cut: bool) -> _Scan:
    """Find all reasoning and all possible calls in a text from `at` on."""
    scan = _Scan()
    pattern = _next(None if offered is None else tuple(offered))
    deep = False
    while match := pattern.search(text, at):
        kind = match.lastgroup or ""
        if kind == "think":
            at = _thought(text, match, scan, offered, cut)
        elif kind.startswith("f") and kind != "fence":
            at = _marked(text, match, int(kind[1:]), scan, offered, cut)
        elif deep:
            at = match.end()
        else:
            try:
                at = _bare(text, match, scan, offered, cut)
            except RecursionError:
                at, deep = match.end(), True
    return scan


def _thought(text: str, match: re.Match[str], scan: _Scan, offered: Offered | None, cut: bool) -> int:
    thought = reasoning.thought_at(text, match)
    if not thought.closed and not cut and _calls(thought.text, offered):
        scan.problems.append("there is a call in reasoning that is never closed")
    scan.thoughts.append((thought.start, thought.end))
    scan.reasons.append(thought.text)
    scan.doubtful = max(scan.doubtful, thought.doubtful if thought.doubtful > thought.end else 0)
    return thought.end


def _calls(text: str, offered: Offered | None) -> bool:
    """Whether reasoning that is never closed contains a call, which may be meant as one."""
    return bool(BEGINS.search(text) or _scan(reasoning.OPENS.sub(" ", text), 0, offered, False).found)


def _marked(text: str, match: re.Match[str], row: int, scan: _Scan, offered: Offered | None, cut: bool) -> int:
    """Parse calls between the marks of a format; an unreadable call is a problem."""
    form = TABLE[row]
    try:
        calls, end = form.body(text, match.end(), offered)
        stray = _STRAY.match(text, end)
        behind = stray.end() if stray else end
        close = re.compile(form.closes).match(text, behind) if form.closes else None
        if close is None and form.closes and form.must_close:
            _ended(text, behind, cut)
        calls = [_checked(call, offered) for call in calls]
    except (Unreadable, RecursionError) as error:
        if not (cut and not ENDS.search(text, match.end())):
            scan.problems.append(f"a call in the format '{form.name}' cannot be read: {_reason(error)}")
        return match.end()
    end = close.end() if close else end if form.closes == "" or not form.must_close else behind
    again = BEGINS.match(text, behind) if close is None and form.must_close and not cut else None
    if again and _nothing(text[again.end() :]):
        end = again.end()  # the opening mark in place of the closing one
    scan.found.append(_Found(match.start(), end, calls, form.name, marked=True))
    return end


def _ended(text: str, at: int, cut: bool) -> None:
    """Check that a call without its closing mark is followed by nothing, another call or a closing mark.

    Raises:
        Unreadable: if the turn was truncated there, or other text follows.
    """
    rest = text[at:]
    if not rest and cut:
        raise Unreadable("it is truncated")
    if rest and not BEGINS.match(rest) and not ENDS.match(rest) and not re.match(r"<\|", rest):
        raise Unreadable("its closing mark is missing, and other text follows")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Unreadable) else "it is nested too deeply"


def _bare(text: str, match: re.Match[str], scan: _Scan, offered: Offered | None, cut: bool) -> int:
    """Parse calls without marks or in a fence; anything else is text."""
    if match.lastgroup == "fence":
        return _fenced(text, match.start(), scan, offered, cut)
    body = bodies.python_calls if match.lastgroup == "python" else bodies.json_calls
    name = "pythonic" if match.lastgroup == "python" else "json"
    try:
        calls, end = body(text, match.start(), offered)
        calls = [_checked(call, offered) for call in calls]
    except Foreign as error:
        if _looks_meant(text[match.start() :], offered) and not cut:
            scan.problems.append(f"text that looks like a call is not one: {error}")
        return _past(text, match.start())
    except Unreadable as error:
        if _looks_meant(text[match.start() :], offered) and not cut:
            scan.problems.append(f"a call without marks cannot be read: {error}")
            return len(text)
        return match.end()
    if offered is not None and any(name not in offered for name, _ in calls):
        if _nothing(text[: match.start()]) and _nothing(text[end:]):
            scan.problems.append(f"a call without marks names '{calls[0][0][:40]}', which is not a tool of the request")
        return end
    if not any(given for _, given in calls) and not (_nothing(text[: match.start()]) and _nothing(text[end:])):
        return end  # the name of a tool in prose
    scan.found.append(_Found(match.start(), end, calls, name, marked=False))
    return end


def _fenced(text: str, at: int, scan: _Scan, offered: Offered | None, cut: bool) -> int:
    """Parse a code fence: if it contains only a call, in any format, that call counts as one without marks."""
    opening = _FENCE.match(text, at)
    inner = opening.end() if opening else at + 3
    closing = _FENCE_MARK.search(text, inner)
    inside = _Scan()
    pattern = _next(None if offered is None else tuple(offered))
    first = pattern.match(text, inner + len(text[inner:]) - len(text[inner:].lstrip()))
    if first and first.lastgroup not in ("think", "fence"):
        kind = first.lastgroup or ""
        if kind.startswith("f"):
            end = _marked(text, first, int(kind[1:]), inside, offered, cut)
        else:
            end = _bare(text, first, inside, offered, cut)
        while inside.found and (more := pattern.match(text, end + len(text[end:]) - len(text[end:].lstrip()))):
            if more.lastgroup in ("think", "fence"):
                break
            before = len(inside.found)
            kind = more.lastgroup or ""
            step = _marked if kind.startswith("f") else None
            end = (
                step(text, more, int(kind[1:]), inside, offered, cut)
                if step
                else _bare(text, more, inside, offered, cut)
            )
            if len(inside.found) == before:
                break
        fence = _FENCE_END.match(text, end)
        if inside.found and (fence or not text[end:].strip()):
            calls = [call for one in inside.found for call in one.calls]
            end = fence.end() if fence else len(text)
            scan.found.append(_Found(at, end, calls, f"{inside.found[0].format} in a fence", marked=False))
            return end
    scan.problems += inside.problems
    return closing.end() if closing else len(text)


def _looks_meant(text: str, offered: Offered | None) -> bool:
    """Whether an unreadable text begins like a call: with a key for the name and the name of an offered tool."""
    head = re.match(
        r"[\[{(\s]*[\"'](?:name|tool_name|function_name|function|tool|action|type)[\"']\s*:\s*[\"']([^\"'\n]{1,80})[\"']",
        html.unescape(text[:_HEAD]).replace("\\", ""),
    )
    return bool(head) and offered is not None and head[1] in offered  # type: ignore[index]


def _past(text: str, at: int) -> int:
    """Return the position after the JSON value at `at`, or after its first character."""
    try:
        return max(values.read_json(text, at)[1], at + 1)
    except Unreadable:
        return at + 1


def _checked(call: Call, offered: Offered | None) -> Call:
    """Remove the namespace before the name of a call if that gives an offered tool."""
    name, given = call
    if offered is not None and name not in offered:
        name = next(
            (n for prefix in ("functions.", "default_api.") if (n := name.removeprefix(prefix)) in offered), name
        )
    return name, given


# --------------------------------------------------------------------------------------------- the result


def _settled(text: str, scan: _Scan, offered: Offered | None, native: Sequence[str], cut: bool) -> Reading:
    """Decide which finds are called, what remains as text, and whether the turn could be read."""
    thought = [one for one in scan.found if one.start < scan.doubtful]
    scan.found = [one for one in scan.found if one not in thought]
    own = [one for one in scan.found if one.marked and (not native or one.format in native)]
    others = [one for one in scan.found if one not in own]
    known = [call for one in own for call in one.calls]
    if own:
        # A call without marks that equals a marked one is only repeated.
        doubtful = [one for one in others if any(call not in known for call in one.calls)]
        chosen = own
    else:
        doubtful = others if others and (scan.problems or not _announced(text, others, scan.thoughts)) else []
        chosen = [] if doubtful else others
    problems = list(scan.problems)
    if thought:
        problems.append("there is a call between marks of reasoning that do not match")
    if doubtful:
        problems.append(f"there is other text beside what may be a call or an example (format '{doubtful[0].format}')")
    content = _without(text, [(one.start, one.end) for one in chosen] + scan.thoughts)
    if chosen:
        content = ENDS.sub("", content)
    rest = _without(text, [(one.start, one.end) for one in scan.found] + scan.thoughts)
    left = BEGINS.search(rest)
    if left and not problems and not cut:
        problems.append(f"'{left[0]}' begins a call that cannot be read")
    if not problems and not cut and (loose := loose_call(rest, offered)):
        problems.append(loose)
    calls = [call for one in chosen for call in one.calls]
    return Reading(
        _message(content, calls, scan.reasons, problems),
        tuple(dict.fromkeys(one.format for one in chosen)),
        max((one.end for one in chosen), default=0),
    )


def _message(content: str, calls: Sequence[Call], reasons: Sequence[str], problems: Sequence[str]) -> Message:
    made = tuple(
        ToolCall(id=str(place), name=name, arguments=argument_texts(given)) for place, (name, given) in enumerate(calls)
    )
    thought = "\n\n".join(filter(None, (reason.strip() for reason in reasons)))
    return Message(
        role="assistant",
        content=content.strip(),
        tool_calls=made,
        reasoning=thought or None,
        unread="; ".join(problems[:3]) or None,
    )


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in sorted(spans):
        parts.append(text[at:start])
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _nothing(text: str) -> bool:
    return not _NOTHING.sub("", ENDS.sub("", text))


def _announced(text: str, found: Sequence[_Found], thoughts: Sequence[tuple[int, int]]) -> bool:
    """Whether a turn contains only these calls, and at most a few words before them that announce them."""
    spans = [(one.start, one.end) for one in found]
    first = spans[0][0]
    lead = _without(text[:first], [(start, min(end, first)) for start, end in thoughts if start < first])
    rest = _without(
        text[first:], [(start - first, end - first) for start, end in [*spans, *thoughts] if start >= first]
    )
    if not _nothing(rest):
        return False
    return announces(lead)


def announces(lead: str) -> bool:
    """Whether the words before a call only announce it (or are empty); after others it may be an example."""
    lead = lead.strip().strip("`*-{[(").strip()
    return not lead or (bool(_ANNOUNCES.fullmatch(lead)) and not _DOUBTS.search(lead))


def _harmony(text: str, offered: Offered | None, native: Sequence[str], cut: bool) -> Reading:
    """Parse messages of gpt-oss: analysis is reasoning, a message to a function is a call, the rest is text."""
    scan, texts, calls = _Scan(), [], []
    for part in harmony.messages(text):
        if part.recipient is not None:
            try:
                call = _checked((part.recipient, harmony.arguments(part, cut)), offered)
            except (Unreadable, RecursionError) as error:
                if not cut:
                    scan.problems.append(f"a call in the format 'harmony' cannot be read: {_reason(error)}")
                continue
            if part.channel == "analysis":
                scan.problems.append("there is a call in the reasoning channel")
                continue
            calls.append(call)
        elif part.channel == "analysis":
            scan.reasons.append(part.text)
        else:
            texts.append(part.text)
    inner = read_turn("\n".join(texts), _specs(offered), native=native, cut=cut) if texts else None
    if inner:
        extra = [(c.name, dict(c.arguments)) for c in inner.message.tool_calls]
        scan.reasons += [inner.message.reasoning or ""]
        scan.problems += [inner.message.unread] if inner.message.unread else []
        calls += extra
    content = inner.message.content if inner else ""
    names = ("harmony",) if calls else ()
    return Reading(_message(content, calls, scan.reasons, scan.problems), names, len(text))


def _specs(offered: Offered | None) -> list[ToolSpec] | None:
    if offered is None:
        return None
    return [ToolSpec(name=n, description="", parameters=dict.fromkeys(given, "")) for n, given in offered.items()]
