"""The hub's README of a folder of data: YAML front matter, then prose and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml

_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
}


def front(title: str, rows: int, tags: Sequence[str], files: Sequence[str]) -> str:
    """Front matter that the hub and `datasets` read: title, size, tags and the data files."""
    matter = {
        "pretty_name": title,
        "language": ["en"],
        "size_categories": [next((name for bound, name in _SIZES.items() if rows < bound), "100M<n<1B")],
        "task_categories": ["text-generation"],
        "tags": ["holdfast", *tags],
        "configs": [{"config_name": "default", "data_files": list(files)}],
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n\n# {title}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a bar or a line break in a cell does not tear it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def facts(title: str, rows: Mapping[str, object]) -> str:
    """A section of two columns: what, and how much."""
    return f"## {title}\n\n" + markdown_table(("", ""), list(rows.items()))


def _cell(value: object) -> str:
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
