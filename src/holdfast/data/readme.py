"""README of a data folder in the format of dataset hubs: YAML front matter, then text and tables."""

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


def front_matter(title: str, rows: int, tags: Sequence[str], files: Sequence[str]) -> str:
    """Return front matter that dataset hubs and `datasets` read: title, size, tags and data files."""
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
    """Return a Markdown table; bars and line breaks in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def table_section(title: str, rows: Mapping[str, object]) -> str:
    """Return a section with a two-column table."""
    return f"## {title}\n\n" + markdown_table(("", ""), list(rows.items()))


def _cell(value: object) -> str:
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
