"""Large text files of the package, which the wheel carries gzipped and a checkout plain.

A base installation must stay small; written sets and labelled transcripts are most of its text.  `hatch_build.py` packs
them when the wheel is built.  Readers name the plain file, and get its text from either form.
"""

from __future__ import annotations

import gzip
from pathlib import Path

SUFFIX = ".gz"


def packed_path(path: Path) -> Path:
    """The file that holds the text of `path`: itself, or its packed form where only that exists."""
    packed = path.with_name(path.name + SUFFIX)
    return packed if packed.is_file() and not path.is_file() else path


def packed_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose plain names fit `pattern`, plain or packed, sorted by plain name."""
    return sorted([*folder.glob(pattern), *folder.glob(pattern + SUFFIX)], key=plain_name)


def plain_name(path: Path) -> str:
    """The name of a file without the suffix of its packed form."""
    return path.name.removesuffix(SUFFIX)


def read_packed(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in `.gz`.

    Raises:
        OSError: the file cannot be read, or is not gzip.
    """
    return gzip.decompress(path.read_bytes()) if path.suffix == SUFFIX else path.read_bytes()
