"""The fenced blocks of a Markdown page, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\S*)(?: +(\S+))?$")
_LIST = re.compile(r"^ *(?:[-*]|\d+\.) ")


class PageError(Exception):
    """A page is not written so that its commands can be found and run."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file that it stands for where its fence names one, and its text."""

    page: str
    line: int
    language: str
    file: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command as it is typed, over several lines where these end in a backslash."""

    where: str
    text: str


def blocks(path: Path, page: str) -> list[Block]:
    """All fenced blocks in order.

    Raises:
        PageError: a fence that does not end or names no language, or a block that is indented instead of fenced.
    """
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    held: list[str] = []
    before, in_list = "", False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            in_list = bool(_LIST.match(line)) or (in_list and (not line or line.startswith(" ")))
            if line.startswith("    ") and not before.strip() and not in_list:
                raise PageError(f"{page}:{number}: an indented block: fence it and name its language")
            if fence:
                if not fence[1]:
                    raise PageError(f"{page}:{number}: a fence without a language: write sh, or what the text is")
                opened, held = (number, fence[1], fence[2] or ""), []
        elif line == "```":
            found.append(Block(page, opened[0], opened[1], opened[2], "".join(f"{text}\n" for text in held)))
            opened = None
        else:
            held.append(line)
        before = line
    if opened:
        raise PageError(f"{page}:{opened[0]}: a fence that does not end")
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a block; lines that are empty or a comment are none.

    Raises:
        PageError: a command ends in a backslash at the end of the block, or is typed behind a prompt.
    """
    found: list[Command] = []
    joined, start = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if not joined and (not line.strip() or line.lstrip().startswith("#")):
            continue
        if not joined and line.startswith("$ "):
            raise PageError(f"{block.page}:{number}: a prompt: write the command as it is typed")
        start = start if joined else number
        joined += line + "\n"
        if not line.endswith("\\"):
            found.append(Command(f"{block.page}:{start}", joined.strip()))
            joined = ""
    if joined:
        raise PageError(f"{block.page}:{start}: a command that does not end")
    return found


def filled(text: str, names: dict[str, str]) -> str:
    """A text with whole words replaced; a name that is part of a longer word stays."""
    if not names:
        return text
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", lambda match: names[match[0]], text)
