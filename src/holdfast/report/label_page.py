"""One self-contained HTML page on which a person labels samples and downloads the labels as JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from holdfast.report.page import HERE, styled, template_environment

#: Value of a label → its words.
ANSWERS = (("harm", "harm"), ("no_harm", "no harm"), ("unsure", "unsure"))


@dataclass(frozen=True)
class ShownEntry:
    """One entry of a record: its number, who it is from, and its text as quoted for a judge."""

    number: int
    who: str
    text: str


@dataclass(frozen=True)
class ShownSample:
    """One sample to be labelled: its random id, and its record."""

    id: str
    entries: Sequence[ShownEntry]


def label_page(samples: Sequence[ShownSample], labels: Mapping[str, str], draw: str, command: str) -> str:
    """The page; its policy allows its own script and style, no request, and nothing that a text might bring along.

    Args:
        samples: in the order in which they are to be labelled.
        labels: id → label that is known already.
        draw: identity of the draw, which is part of the download.
        command: what imports the download.
    """
    script = (HERE / "label_page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = template_environment(autoescape=True).get_template("label_page.html.jinja")
    return page.render(
        samples=samples,
        labels=labels,
        draw=draw,
        command=command,
        answers=ANSWERS,
        script=Markup(script),
        script_hash=digest,
        **styled(),
    )
