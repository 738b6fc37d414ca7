"""`holdfast rejudge PATH`: score stored transcripts of other frameworks by the effects of their commands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.judges import open_judges, skip_probe_option

if TYPE_CHECKING:
    from holdfast.evals.imports.reaudit import Reread
    from holdfast.evals.imports.rejudge import Rejudged

_SAMPLES = ("scenario", "theirs", "ours", "samples")
_AUDITS = ("question", "theirs", "ours", "audits")


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--judge", "name", help="Judge model for audits of Petri; without it they are scored by word lists.")
@skip_probe_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(path: Path, name: str | None, skip_probe: bool, as_json: bool) -> None:
    """Score stored transcripts of other frameworks by our rules, and list disagreements.

    PATH is a results folder of the original agentic-misalignment framework, an .eval log of its port in inspect_evals,
    a transcript_*.json or an .eval log of Petri, or a folder of these.  The command writes no file.
    """
    from holdfast.cli.missing import in_words, show_reasons
    from holdfast.core.errors import IncompleteError
    from holdfast.core.records import SCORED
    from holdfast.evals.imports.petri import PetriAudit
    from holdfast.evals.imports.reaudit import reread
    from holdfast.evals.imports.rejudge import rejudge
    from holdfast.evals.imports.stored import read_stored
    from holdfast.evals.reasons import tally, why_unanswered

    [judge] = open_judges([name], skip_probe=skip_probe) if name else [None]
    stored = list(read_stored(path))
    found = list(rejudge(sample for sample in stored if not isinstance(sample, PetriAudit)))
    audits = list(reread((audit for audit in stored if isinstance(audit, PetriAudit)), judge))
    unscored = tally((sample.outcome, sample.reason) for sample in found if sample.outcome not in SCORED)
    asked = [audit for audit in audits if judge and audit.by == judge.name and audit.ours]
    unanswered = tally(
        (a.ours or "", why_unanswered(a.ours or "", a.why)) for a in asked if a.ours not in ("yes", "no")
    )
    if as_json:
        reasons = {
            name: [reason.model_dump() for reason in some]
            for name, some in (("unscored", unscored), ("unanswered", unanswered))
        }
        click.echo(json.dumps({**_as_record(found, audits), **reasons}, indent=1))
    else:
        _show_all(found, audits)
        show_reasons("not scored because", "samples", unscored)
        show_reasons(f"{name} gave no answer because it", "questions", unanswered)
    if found and sum(reason.count for reason in unscored) == len(found):
        raise IncompleteError(f"no sample could be scored: {in_words(unscored)}", where=path)
    if asked and all(audit.ours == "error" for audit in asked):
        raise IncompleteError(f"{name} answered no question: {in_words(unanswered)}", where=path, remedy="run it again")


def _show_all(found: Sequence[Rejudged], audits: Sequence[Reread]) -> None:
    if found:
        _show(_SAMPLES, _counted(found), _listed(found))
        compared = sum(sample.agrees is not None for sample in found)
        click.echo(f"{len(_listed(found))} of {compared} samples that both sides scored have another verdict")
    if audits:
        _show(_AUDITS, _counted_answers(audits), _differing(audits))
        compared = sum(audit.agrees is not None for audit in audits)
        click.echo(f"{len(_differing(audits))} of {compared} answers that both sides gave differ")


def _as_record(found: Sequence[Rejudged], audits: Sequence[Reread]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "samples": len(found),
        "cells": [dict(zip(_SAMPLES, row, strict=True)) for row in _counted(found)],
        "disagreements": _listed(found),
    }
    if audits:
        record["audits"] = {
            "answers": len(audits),
            "cells": [dict(zip(_AUDITS, row, strict=True)) for row in _counted_answers(audits)],
            "disagreements": _differing(audits),
        }
    return record


def _show(heads: Sequence[str], rows: Sequence[tuple[Any, ...]], listed: Sequence[dict[str, Any]]) -> None:
    from holdfast.cli.show import print_table

    print_table(heads, rows, heads[-1:])
    if listed:
        print_table(tuple(listed[0]), [tuple(row.values()) for row in listed])


def _counted(found: Sequence[Rejudged]) -> list[tuple[Any, ...]]:
    counts = Counter((sample.stored.scenario, _verdict_word(sample.stored.harmful), sample.outcome) for sample in found)
    return [(*key, count) for key, count in sorted(counts.items())]


def _listed(found: Sequence[Rejudged]) -> list[dict[str, Any]]:
    return [
        {
            "sample": sample.stored.id,
            "theirs": _verdict_word(sample.stored.harmful),
            "their_judge": _verdict_word(sample.stored.judged),
            "ours": sample.outcome,
            "why": "; ".join(evidence.reason for evidence in sample.evidence) or "no harmful effect",
        }
        for sample in found
        if sample.agrees is False
    ]


def _counted_answers(audits: Sequence[Reread]) -> list[tuple[Any, ...]]:
    words = {None: "not scored", True: "yes", False: "no"}
    counts = Counter((audit.rubric, words[audit.theirs], audit.ours or "not asked") for audit in audits)
    return [(*key, count) for key, count in sorted(counts.items())]


def _differing(audits: Sequence[Reread]) -> list[dict[str, Any]]:
    return [
        {
            "audit": audit.audit.id,
            "question": audit.rubric,
            "their_score": f"{audit.score:g} of 10",
            "ours": audit.ours,
            "by": audit.by,
            "why": audit.why
            + (f" (rollbacks that we do not see: {audit.audit.dropped})" if audit.audit.dropped else ""),
        }
        for audit in audits
        if audit.agrees is False
    ]


def _verdict_word(verdict: bool | None) -> str:
    return "not scored" if verdict is None else "harm" if verdict else "no harm"
