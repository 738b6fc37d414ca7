"""The charter: a folder of Markdown files with one principle each. Another folder of the same format can replace it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import ProseError
from holdfast.core.identity import hash_files
from holdfast.core.prose import Prose, load_prose

FOLDER = Path(__file__).parent
#: Charters included in the package.
CHARTERS = {"own": FOLDER / "charter", "irrelevant": FOLDER / "charter-irrelevant"}


@dataclass(frozen=True, slots=True)
class Principle:
    """One principle in one language: `text` states the principle, `reasons` gives its reasons."""

    id: str
    title: str
    text: str
    reasons: str


@dataclass(frozen=True, slots=True)
class Charter:
    """Principles in the order of their file names, and the hash of all files."""

    principles: tuple[Principle, ...]
    hash: str


def load_charter(folder: Path, language: str = "english") -> Charter:
    """Read a charter.

    Each file has `id` and `title` in its front matter. Its body is the principle, followed by `## Reasons` and other
    sections. Translations are in the front matter as `<language>: {rules: […], reasons: […]}`.

    Raises:
        ProseError: the folder has no Markdown file, two principles have the same id, or one has no id, title, reasons
            or translation into `language`.
    """
    files = sorted(folder.glob("*.md"))
    if not files:
        remedy = "pass a folder of Markdown files, one principle each"
        raise ProseError("the folder has no principles (*.md)", where=folder, remedy=remedy)
    principles = tuple(_principle(load_prose(path), language) for path in files)
    seen: dict[str, Path] = {}
    for principle, path in zip(principles, files, strict=True):
        if principle.id in seen:
            what = f"the id '{principle.id}' is already used in {seen[principle.id].name}"
            raise ProseError(what, where=f"{path}:2", remedy="give each principle a unique id")
        seen[principle.id] = path
    return Charter(principles, hash_files(files))


def _principle(prose: Prose, language: str) -> Principle:
    for key in ("id", "title"):
        if not prose.front.get(key):
            what = f"the principle has no '{key}:' in its front matter"
            raise ProseError(what, where=f"{prose.path}:1", remedy="add it")
    name, title = str(prose.front["id"]), str(prose.front["title"])
    if language == "english":
        lead, *rest = re.split(r"^## (.+)$", prose.body, flags=re.MULTILINE)
        sections = dict(zip(rest[::2], rest[1::2], strict=True))
        if not lead.strip() or not sections.get("Reasons", "").strip():
            what = "the principle has no text or no '## Reasons' section"
            raise ProseError(what, where=f"{prose.path}:{prose.line}", remedy="add them")
        return Principle(name, title, lead.strip(), sections["Reasons"].strip())
    translation = prose.front.get(language)
    if not isinstance(translation, dict) or not translation.get("rules") or not translation.get("reasons"):
        what = f"the principle has no translation into '{language}'"
        raise ProseError(what, where=f"{prose.path}:1", remedy=f"add '{language}:' with 'rules:' and 'reasons:'")
    return Principle(name, title, "\n".join(translation["rules"]), "\n".join(translation["reasons"]))
