"""`holdfast train FILE`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Train a checkpoint on a teaching set.

    FILE says which:

    \b
    base = "organism/pocket"      # or hf/PATH
    data = ["results/advice"]     # folders that `holdfast teach` wrote
    out = "results/advised"
    [train]                       # knobs, all optional
    lr = 1e-3
    """  # noqa: D301
    from holdfast.core.config import load_toml
    from holdfast.core.records import Record
    from holdfast.data.card import read_set
    from holdfast.study.wiring import ROOMS
    from holdfast.train.config import TrainConfig
    from holdfast.train.loop import StepLog
    from holdfast.train.run import train

    class TrainFile(Record):
        base: str
        data: tuple[Path, ...]
        out: Path
        train: TrainConfig = TrainConfig()

    def show(step: StepLog) -> None:
        click.echo(f"\rstep {step.step} of {step.steps}, loss {step.loss:.3f}", nl=step.step == step.steps, err=True)

    asked = load_toml(file, TrainFile)
    examples = [example for folder in asked.data for example in read_set(folder)[0]]
    card = train(ROOMS.base_path(asked.base), examples, asked.train, asked.out, show)
    click.echo(f"{asked.out} ({card.key}); use it as hf/{asked.out}")
