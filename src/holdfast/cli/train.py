"""`holdfast train FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.train.checkpointing import StepLog
    from holdfast.train.pipeline import Supply, TrainFile

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=FOLDER)
@click.option("--base", help="Checkpoint to begin from: a folder, hf/PATH or organism/pocket.  [default: FILE's]")
@click.option("--examples", "sets", multiple=True, type=FOLDER, help="Folder of a set; repeatable.  [default: FILE's]")
@click.option("--out", type=FOLDER, help="Folder of the new checkpoint.  [default: FILE's]")
@click.option(
    "--show", is_flag=True, help="Print ten examples with the supervised part marked, or what a world pays, and stop."
)
def command(file: Path, base: str | None, sets: tuple[Path, ...], out: Path | None, show: bool) -> None:
    """Train a checkpoint, in one stage or several.  Interrupt at will: the same command goes on.

    FILE holds the knobs, all optional: stage, lr, epochs, tokens, batch_tokens, lora and the rest of
    `train.config.TrainConfig`; it may also name `base`, `out`, `eval_every`, and what to teach (`examples`, `sets` or
    `worlds`), once or in `[[stage]]` tables.
    """
    from holdfast.core.errors import ConfigError
    from holdfast.study.curves import watching
    from holdfast.study.rewards import environment
    from holdfast.study.wiring import ROOMS
    from holdfast.train.distributed import first
    from holdfast.train.pipeline import Supply, load_file, run_chain

    plan = load_file(file)
    begin, out = base or plan.base, out or plan.out
    if begin is None or (out is None and not show):
        name = "base" if begin is None else "out"
        raise ConfigError(f"no '{name}'", where=file, remedy=f"name it there, or with --{name}")
    start = Path(begin) if Path(begin).is_dir() else ROOMS.base_path(begin)
    supply = Supply(
        build=ROOMS.build_set,
        environment=environment,
        watching=watching(plan.eval_every) if plan.eval_every else None,
        folders=sets,
    )
    if show:
        _show(plan, start, supply)
        return
    assert out is not None
    last, card = run_chain(plan, start, out, supply, _step)
    if first():
        for number in range(len(plan.stage)):
            _tell(plan.folder(number, out))
        click.echo(f"{last} ({card.key}): open it as hf/{last}, draw it with holdfast report {last}")


def _step(log: StepLog) -> None:
    paid = "" if log.reward is None else f", reward {log.reward:.3f}"
    line = f"\rstep {log.step} of {log.steps}, loss {log.loss:.3f}{paid}"
    click.echo(line, nl=log.step == log.steps, err=True)


def _show(plan: TrainFile, start: Path, supply: Supply) -> None:
    """Print examples of the first stage as the model will see them; of `grpo`, what its worlds pay to whom."""
    from holdfast.report.words import clean
    from holdfast.train.pipeline import taught
    from holdfast.train.run import prepare
    from holdfast.train.show import marked
    from holdfast.train.weights import load_checkpoint

    stage = plan.stage[0]
    if stage.stage == "grpo":
        _wages(stage.worlds)
        return
    model, tokenizer = load_checkpoint(start)
    lesson = prepare(taught(stage, start, supply), model, tokenizer, stage.config)
    rows = lesson.rows or [row for pair in lesson.pairs for row in (pair.chosen, pair.rejected)]
    for text in marked(rows, tokenizer):
        click.echo(clean(text))
    click.echo(f"{len(rows)} rows have passed the gate; ⟦what is supervised⟧ stands between brackets")


def _wages(worlds: Sequence[str]) -> None:
    """Print what each scripted policy would earn, the proper one and those that try to cheat."""
    from holdfast.cli.show import table
    from holdfast.study.rewards import environment, wages

    found = wages(environment(worlds, seeds=4))
    twins = list(found[0].by_twin)
    paid = [(wage.mean, *(wage.by_twin[twin] for twin in twins)) for wage in found]
    rows = [
        (wage.policy, *("unpaid" if mean is None else f"{mean:+.2f}" for mean in means))
        for wage, means in zip(found, paid, strict=True)
    ]
    table(("policy", "mean", *twins), rows, right=("mean", *twins))
    click.echo("the proper policy is paid best in every twin; a reward that pays another as well is refused")


def _tell(folder: Path) -> None:
    """Print what a finished stage did: its figures before and after."""
    from holdfast.cli.show import table
    from holdfast.core.store import RunFolder
    from holdfast.report.words import percent
    from holdfast.train.checkpointing import METRICS, StepLog
    from holdfast.train.safety_probe import SAFETY, SafetyPoint

    logs = RunFolder(folder).read(METRICS, StepLog)
    points = RunFolder(folder).read(SAFETY, SafetyPoint)
    rows = [("loss", f"{logs[0].loss:.3f}", f"{logs[-1].loss:.3f}")]
    if logs[0].reward is not None and logs[-1].reward is not None:
        rows = [("reward", f"{logs[0].reward:+.3f}", f"{logs[-1].reward:+.3f}")]
    if points:
        first, last = points[0].values, points[-1].values
        rows += [(name, percent(first[name]), percent(last.get(name))) for name in first]
    after = f"after {len(logs)} steps"
    table((folder.name, "before", after), rows, right=("before", after))
