"""Makes the guard's table of look-alike characters from Unicode's own.

    pip install confusable_homoglyphs && python -m bench.lookalikes > src/holdfast/detectors/confusables.txt

confusable_homoglyphs (MIT) carries the confusables of Unicode Technical Standard 39 as data, both ways round.  Kept is
what passes for ASCII and is not ASCII after compatibility normalization (NFKC), which the guard applies by itself.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module

HEAD = """\
# What passes for ASCII: the ASCII, a tab, then every character that looks like it.
# From the confusables of Unicode Technical Standard 39 (Copyright Unicode, Inc.; Unicode License V3), by way of
# confusable_homoglyphs {version}.  Made by `python -m bench.lookalikes`; do not edit.
"""


def pairs(table: Mapping[str, list[dict[str, str]]]) -> Iterator[tuple[str, str]]:
    """(look-alike, the ASCII that it passes for), each look-alike once."""
    for source, alike in table.items():
        char = source.strip("\u200e")
        for target in (entry["c"].strip("\u200e") for entry in alike):
            if _one_foreign(char) and target.isascii() and target.isprintable() and not target.isspace():
                yield char, target
                break


def _one_foreign(char: str) -> bool:
    return len(char) == 1 and not char.isascii() and not unicodedata.normalize("NFKC", char).isascii()


def main() -> None:
    """Print the table."""
    try:
        table = import_module("confusable_homoglyphs.confusables").confusables_data
        version = import_module("confusable_homoglyphs").__version__
    except ModuleNotFoundError:
        sys.exit("confusable_homoglyphs is not installed: pip install confusable_homoglyphs")
    rows: defaultdict[str, set[str]] = defaultdict(set)
    for char, target in pairs(table):
        rows[target].add(char)
    print(HEAD.format(version=version), end="")
    for target, chars in sorted(rows.items()):
        print(f"{target}\t{''.join(sorted(chars))}")


if __name__ == "__main__":
    main()
