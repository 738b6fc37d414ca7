"""`holdfast train FILE`."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=FOLDER)
@click.option("--base", required=True, help="Checkpoint to begin from: a folder, hf/PATH or organism/pocket.")
@click.option("--examples", "sets", required=True, multiple=True, type=FOLDER, help="Folder of a set; repeatable.")
@click.option("--out", required=True, type=FOLDER, help="Folder of the new checkpoint.")
def command(file: Path, base: str, sets: tuple[Path, ...], out: Path) -> None:
    """Train a checkpoint on a teaching set.

    FILE holds the knobs, all optional: lr, epochs, tokens, batch_tokens and the rest of `train.config.TrainConfig`.
    """
    from holdfast.core.config import load_toml
    from holdfast.core.records import Example
    from holdfast.core.store import RunFolder
    from holdfast.study.wiring import ROOMS
    from holdfast.train.config import TrainConfig
    from holdfast.train.loop import StepLog
    from holdfast.train.run import train

    def show(step: StepLog) -> None:
        click.echo(f"\rstep {step.step} of {step.steps}, loss {step.loss:.3f}", nl=step.step == step.steps, err=True)

    config = load_toml(file, TrainConfig)
    folders = [RunFolder(folder) for folder in sets if RunFolder(folder).card()]
    examples = [example for folder in folders for example in folder.read("examples", Example)]
    start = Path(base) if Path(base).is_dir() else ROOMS.base_path(base)
    card = train(start, examples, config, out, show)
    click.echo(f"{out} ({card.key}): open it as hf/{out}")
