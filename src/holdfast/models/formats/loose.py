"""Recognises calls that are written in a way that no format reads, so that a turn which holds one is unread.

Examples: `Action: send_email`, `await tools.send_email({...})`, `$ send_email --to ann@a.com`, `/send_email ann@a.com`,
`<send-email>`, YAML.  None of them is executed: the argument of such a call can be read in several ways.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from functools import lru_cache

from holdfast.models.formats.bodies import Offered

#: How far behind the name of a tool its parameters may begin, in characters.
_NEAR = 400
#: Labels before the name of a tool, as in ReAct prompts and YAML.
_LABEL = (
    r"(?:next[ _])?(?:action|tool|function|command|call|invoke|execute|run|use|name|method|step)"
    r"(?:[ _]?(?:name|call|use))?"
)


def loose_call(text: str, offered: Offered | None) -> str | None:
    """Return why a text outside all parsed calls looks like a call; None if it does not, or the tools are unknown.

    Args:
        text: what is left of a turn without its thoughts and its calls.
        offered: the parameters of the tools of the request, by name.
    """
    if not offered or not text:
        return None
    text = html.unescape(text).replace('\\"', '"')  # as in a call that was encoded once too often
    pattern = _names(tuple(sorted(offered)))
    if not pattern.search(text):
        return None
    by_plain = {_plain(name): name for name in offered}
    for match in pattern.finditer(text):
        name = by_plain[_plain(match[0])]
        if _called(text, match.start(), match.end(), offered[name]):
            return f"'{match[0]}' begins a call in a form that cannot be read"
    return None


def _plain(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()


@lru_cache(maxsize=64)
def _names(names: tuple[str, ...]) -> re.Pattern[str]:
    """Match the names of tools, also with hyphens and in camel case."""
    spelt = "|".join(re.escape(name).replace("_", "[-_]?") for name in names)
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{spelt})(?![A-Za-z0-9_])", re.IGNORECASE)


def _called(text: str, start: int, end: int, parameters: Collection[str]) -> bool:
    line = text[text.rfind("\n", 0, start) + 1 : start]
    behind = text[end : end + _NEAR]
    if re.search(r"(?:<|&lt;|\[)\s*/?\s*\Z", line):  # a tag
        return True
    if re.match(r"[`*\"']{0,3}\s*\(\s*(?!\))", behind) and (behind[0] == "(" or line.rstrip().endswith(".")):
        return True
    if re.search(
        rf"(?:^|[\s{{,\"'*`_-]){_LABEL}[\"'*`_]*\s*(?:\d+\s*)?[:=]>?\s*[\"'`*_\[({{]*(?:\w+\.)?\Z", line, re.I
    ):
        return True
    if re.fullmatch(r"\s*(?:[-*]\s+)?`?(?:[$%#>]\s*|/|!|@)", line) and not behind.startswith((".", ",")):
        return True
    if not line.strip("`*-\"' \t") and re.match(r"[`*\"']{0,3}(?:\s+(?:-{1,2}\w|[\"'{\[]|\S+@\S)|[^\n]*\|)", behind):
        return True
    if not line.strip("`*-\"' \t") and re.match(r"[`*\"']{0,3}\s*[:=]\s*(?:\n\s+[\"']?\w+[\"']?\s*:|[{\[])", behind):
        return True
    given = {key for key in parameters if _given(key, behind)}
    return len(given) >= min(2, max(1, len(parameters)))


def _given(key: str, behind: str) -> bool:
    """Whether a text gives a value to a parameter: `to:`, `to=`, `"to"`, `--to`, `<to>`."""
    return re.search(rf"(?<![\w-])(?:--?{key}\b|<{key}>|[\"'`*]*{key}[\"'`*]*\s*[:=])", behind) is not None
