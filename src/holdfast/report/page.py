"""Writes the two pages of a report: HTML for reading, Markdown for searching and diffing, with the same numbers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from holdfast.core.results import HELDOUT, HELDOUT_SKELETONS, Summary
from holdfast.core.shown_samples import Sample
from holdfast.core.store import write_text
from holdfast.core.twins import PRESSURED
from holdfast.report import answer, figures, hand_labels, judges, missing, skeletons, view, words
from holdfast.report.summary import load_summary

HERE = Path(__file__).parent


def write_report(folder: Path, unverified: Sequence[str] = ()) -> tuple[Path, Path]:
    """Write `report.html` and `report.md` beside the `summary.json` of `folder`.

    Args:
        folder: results folder.
        unverified: why the folder does not verify, for the head of both pages; empty if it verifies.

    Returns:
        The paths of the HTML page and of its Markdown twin.

    Raises:
        ResultsError: the summary is missing or cannot be read.
        StoreError: a page could not be written.
    """
    pages = {folder / name: text for name, text in pages_of(folder, unverified).items()}
    for path, text in pages.items():
        write_text(path, text)
    html, markdown = pages
    return html, markdown


def pages_of(folder: Path, unverified: Sequence[str] = ()) -> dict[str, str]:
    """The pages that the summary of a results folder gives, by file name: first HTML, then Markdown.

    Raises:
        ResultsError: see `write_report`.
    """
    summary = load_summary(folder)
    return {"report.html": render_html(summary, unverified), "report.md": render_markdown(summary, unverified)}


def render_html(summary: Summary, unverified: Sequence[str] = ()) -> str:
    """Render the page as one self-contained file without scripts or requests, and with a policy that forbids both."""
    page = template_environment(autoescape=True).get_template("page.html.jinja")
    return page.render(_shared(summary, unverified), **styled(), axis=figures.axis())


def styled() -> dict[str, str]:
    """The style sheet of a page, and the hash by which the page's policy allows this style alone."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {"style": Markup(style), "style_hash": digest}


def render_markdown(summary: Summary, unverified: Sequence[str] = ()) -> str:
    """Render the Markdown page; every text of the file is escaped so that Markdown shows it literally."""
    return template_environment(autoescape=False).get_template("page.md.jinja").render(_shared(summary, unverified))


@cache
def template_environment(*, autoescape: bool) -> Environment:
    """The templates of this folder with their filters; without `autoescape`, values are escaped for Markdown."""
    env = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=autoescape,
        finalize=None if autoescape else words.escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters |= {
        "percent": words.percent,
        "points": words.points,
        "point_span": words.point_span,
        "chance": words.p_value_text,
        "count": words.count,
        "seconds": words.seconds,
        "moment": words.time_text,
        "span": words.span,
        "plain": words.humanise,
        "marked": words.highlight,
        "fenced": words.fenced,
        "raw": words.Raw,
        "series": words.series,
        "rate": view.rate_text,
        "tone": view.tone,
        "split_title": view.split_title,
        "ratio": view.ratio,
        "seeds": words.seeds,
        "quotes": _quotes,
        "transcript": _transcript,
    }
    return env


_PLACES = {HELDOUT: "held-out families", HELDOUT_SKELETONS: "held-out skeletons of the trained family"}


def _shared(summary: Summary, unverified: Sequence[str]) -> dict[str, object]:
    """The values that both templates use."""
    provenance = words.flat(dict(summary.provenance))
    findings = summary.leakage.findings if summary.leakage else ()
    pressed = "under pressure" if summary.headline_twin == PRESSURED else "without pressure"
    return {
        "s": summary,
        "unverified": [words.clean(line) for line in unverified],
        "answer": answer.answer_sentences(summary),
        "unscored": missing.unscored_rows(summary),
        "unanswered": missing.unanswered_rows(summary),
        "remedies": missing.remedies(summary),
        "asked_again": missing.asked_again(summary),
        "empty_arms": missing.empty_arms(summary),
        "place": f"{_PLACES.get(summary.pooled, 'all families')} {pressed}",
        "pressed": summary.headline_twin == PRESSURED,
        "skeletons": skeletons.by_skeleton(summary),
        "cells": list(skeletons.every_cell(summary)),
        "within": summary.pooled == HELDOUT_SKELETONS,
        "described": [arm for arm in summary.arms if summary.taught or arm.about],
        "headline": view.headline(summary),
        "verdicts": view.verdict_rows(summary),
        "deliveries": view.delivery_rows(summary),
        "control_twins": view.control_twins(summary),
        "forest": view.forest(summary),
        "twin_forest": view.twin_forest(summary),
        "contrast": partial(view.contrast, summary),
        "base": summary.title(view.untouched(summary)),
        "against": summary.title(view.reference(summary)),
        "bounds": view.bounds(summary),
        "awareness": view.awareness_rows(summary),
        "judges": judges.judges(summary),
        "corrected": hand_labels.corrected(summary),
        "hand_labels": hand_labels.strata_rows(summary),
        "answers": tuple(judges.ANSWERS.values()),
        "sampled": view.outline_table(summary) if summary.until else None,
        "samples": view.samples(summary),
        "origin": [(key, value) for key, value in provenance if "." not in key],
        "parts": [(key, value) for key, value in provenance if "." in key],
        "organism_limit": summary.model.organism and not any("another model" in limit for limit in summary.limits),
        "leaks": [finding for finding in findings if finding.leak],
        "notes": [finding for finding in findings if not finding.leak],
    }


def _quotes(sample: Sample, message: int) -> list[str]:
    """The quotes of evidence in one message; evidence that names no message counts for all messages."""
    return [e.quote for e in sample.evidence if e.message in (message, -1)]


def _transcript(sample: Sample) -> str:
    """Format a sample as plain text, for a code fence."""
    lines = []
    for turn in sample.messages:
        lines.append(f"[{turn.role}] {turn.content}".rstrip())
        for call in turn.tool_calls:
            arguments = "; ".join(f"{name}: {value}" for name, value in call.arguments.items())
            lines.append(f"[{turn.role} calls {call.name}] {arguments}".rstrip())
    return "\n\n".join(lines)
