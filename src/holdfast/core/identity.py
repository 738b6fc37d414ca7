"""Content hashes that identify results: a key is the hash of everything that made the result."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from holdfast.core.packed import plain_name, read_packed
from holdfast.core.text import storable

PACKAGE = Path(__file__).parent.parent


def canonical(value: Any) -> str:
    """Canonical JSON of `value` (sorted keys, no spaces): equal values give equal text."""
    return _CANONICAL.encode(value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def key_of(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(storable(canonical(value)).encode()).hexdigest()[:16]


def hash_files(paths: Iterable[Path]) -> str:
    """One hash over the names and bytes of `paths`, in any order; a packed file hashes as its plain form."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(plain_name(path).encode() + b"\0" + hashlib.sha256(read_packed(path)).digest())
    return digest.hexdigest()[:16]


@cache
def room_version(*rooms: str) -> str:
    """Hash of the source and prose of `rooms` (sub-packages). It is part of the key of whatever they make."""
    files = [p for room in rooms for p in (PACKAGE / room).rglob("*") if p.suffix in {".py", ".md", ".toml", ".jinja"}]
    return hash_files(files)


@cache
def source_commit() -> str:
    """The git commit of the checkout that this package runs from, with `-changed` if files differ from it.

    Empty for an installed package, or without git.
    """
    root = PACKAGE.parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}-changed" if _git(root, "status", "--porcelain", "--untracked-files=no", "src") else commit
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
