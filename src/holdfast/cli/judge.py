"""`holdfast judge VERB`: the commands about judges; each is `holdfast.cli.judge_<verb>:command`."""

from __future__ import annotations

import click

from holdfast.cli.lazy_group import LazyGroup

VERBS = {
    "run": "Judge the samples of a finished run.",
    "label": "Label samples of a run by hand, and correct its rate by the labels.",
    "calibrate": "Measure detectors and judges against the labelled set.",
    "import": "Judge transcripts that others stored; the same as `holdfast rejudge`.",
}
_ELSEWHERE = {"import": "holdfast.cli.rejudge"}


@click.group(cls=LazyGroup, verbs=VERBS, modules="holdfast.cli.judge_{}", elsewhere=_ELSEWHERE)
def command() -> None:
    """Ask a judge model what effects and words leave open, and measure how good a judge is."""
