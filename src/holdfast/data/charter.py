"""The charter: a folder of Markdown files, one principle each. Any other folder of this shape works in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ProseError
from holdfast.core.identity import hash_files
from holdfast.core.prose import Prose, load_prose

FOLDER = Path(__file__).parent
#: charters that come with the package
CHARTERS = {"own": FOLDER / "charter", "irrelevant": FOLDER / "charter-irrelevant"}


@dataclass(frozen=True, slots=True)
class Principle:
    """One principle in one language: `text` says what it asks, `reasons` says why."""

    id: str
    title: str
    text: str
    reasons: str


@dataclass(frozen=True, slots=True)
class Charter:
    """The principles in the order of their file names, and the hash of all files."""

    principles: tuple[Principle, ...]
    hash: str


def load_charter(folder: Path, language: str = "english") -> Charter:
    """Read a charter.

    A file's front matter holds `id` and `title`; its body is the principle, then `## Reasons` and other sections.
    Renderings in other languages stand in the front matter as `<language>: {rules: […], reasons: […]}`.

    Raises:
        ProseError: the folder holds no principle, two have the same id, or one lacks its id, title, reasons or the
            rendering asked for.
    """
    files = sorted(folder.glob("*.md"))
    if not files:
        raise ProseError("no principles here", where=folder, remedy="a charter is a folder of Markdown files")
    principles = tuple(_principle(load_prose(path), language) for path in files)
    seen: dict[str, Path] = {}
    for principle, path in zip(principles, files, strict=True):
        if principle.id in seen:
            what = f"the id '{principle.id}' is taken by {seen[principle.id].name}"
            raise ProseError(what, where=f"{path}:2", remedy="give each principle its own id")
        seen[principle.id] = path
    return Charter(principles, hash_files(files))


def _principle(prose: Prose, language: str) -> Principle:
    for key in ("id", "title"):
        if not prose.front.get(key):
            raise ProseError(f"a principle without '{key}:'", where=f"{prose.path}:1", remedy="add it")
    name, title = str(prose.front["id"]), str(prose.front["title"])
    if language == "english":
        lead, *rest = re.split(r"^## (.+)$", prose.body, flags=re.MULTILINE)
        sections = dict(zip(rest[::2], rest[1::2], strict=True))
        if not lead.strip() or not sections.get("Reasons", "").strip():
            raise ProseError("a principle needs a text and '## Reasons'", where=prose.path, remedy="write them")
        return Principle(name, title, lead.strip(), sections["Reasons"].strip())
    rendering = prose.front.get(language)
    if not isinstance(rendering, dict) or not rendering.get("rules") or not rendering.get("reasons"):
        what = f"no rendering in the language '{language}'"
        raise ProseError(what, where=f"{prose.path}:1", remedy=f"add '{language}:' with 'rules:' and 'reasons:'")
    return Principle(name, title, "\n".join(rendering["rules"]), "\n".join(rendering["reasons"]))
