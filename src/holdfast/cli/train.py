"""`holdfast train FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.train.checkpointing import StepLog
    from holdfast.train.pipeline import StageInputs, TrainFile

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=FOLDER)
@click.option(
    "--base",
    help="Checkpoint to start from: a folder, gguf/PATH, organism/pocket or a fetched model.  [default: from FILE]",
)
@click.option(
    "--examples", "sets", multiple=True, type=FOLDER, help="Folder of a set; repeatable.  [default: from FILE]"
)
@click.option("--out", type=FOLDER, help="Folder of the new checkpoint.  [default: from FILE]")
@click.option(
    "--show",
    is_flag=True,
    help="Print ten examples with the supervised text marked (for grpo: the rewards of scripted policies) and exit.",
)
def command(file: Path, base: str | None, sets: tuple[Path, ...], out: Path | None, show: bool) -> None:
    """Train a checkpoint in one or more stages.  To resume an interrupted training, run the same command again.

    FILE is a TOML file.  All settings are optional: stage, lr, epochs, tokens, batch_tokens, lora and the other fields
    of `train.config.TrainConfig`.  It may also set `base`, `out`, `eval_every` and the training data (`examples`,
    `sets` or `worlds`), once or in `[[stage]]` tables.
    """
    from holdfast.core.errors import ConfigError
    from holdfast.models.checkpoints import checkpoint_path
    from holdfast.study.curves import probe_callback
    from holdfast.study.rewards import training_environment
    from holdfast.study.wiring import build_set
    from holdfast.train.distributed import is_main_process
    from holdfast.train.pipeline import StageInputs, load_file, run_chain

    plan = load_file(file)
    begin, out = base or plan.base, out or plan.out
    if begin is None or (out is None and not show):
        name = "base" if begin is None else "out"
        raise ConfigError(f"'{name}' is not set", where=file, remedy=f"set it in the file or pass --{name}")
    start = Path(begin) if Path(begin).is_dir() else checkpoint_path(begin)
    inputs = StageInputs(
        build=build_set,
        environment=training_environment,
        probe_schedule=probe_callback(plan.eval_every) if plan.eval_every else None,
        folders=sets,
    )
    if show:
        _show(plan, start, inputs)
        return
    assert out is not None
    last, card = run_chain(plan, start, out, inputs, _step)
    if is_main_process():
        for number in range(len(plan.stage)):
            _print_results(plan.folder(number, out))
        click.echo(f"{last} ({card.key}): open it as hf/{last}; make a report with: holdfast report {last}")


def _step(log: StepLog) -> None:
    reward = "" if log.reward is None else f", reward {log.reward:.3f}"
    line = f"\rstep {log.step} of {log.steps}, loss {log.loss:.3f}{reward}"
    click.echo(line, nl=log.step == log.steps, err=True)


def _show(plan: TrainFile, start: Path, inputs: StageInputs) -> None:
    """Print examples of the first stage with the supervised text marked; for `grpo`, the scripted policies' rewards."""
    from holdfast.report.words import clean
    from holdfast.train.pipeline import load_examples
    from holdfast.train.run import prepare
    from holdfast.train.show import marked_texts
    from holdfast.train.weights import load_checkpoint

    stage = plan.stage[0]
    if stage.stage == "grpo":
        _show_rewards(stage.worlds)
        return
    model, tokenizer = load_checkpoint(start)
    prepared = prepare(load_examples(stage, start, inputs), model, tokenizer, stage.config)
    rows = prepared.rows or [row for pair in prepared.pairs for row in (pair.chosen, pair.rejected)]
    for text in marked_texts(rows, tokenizer):
        click.echo(clean(text))
    click.echo(f"{len(rows)} rows passed the mask check; supervised text is shown in ⟦brackets⟧")


def _show_rewards(worlds: Sequence[str]) -> None:
    """Print the reward of each scripted policy: the proper one and those that try to exploit the reward."""
    from holdfast.cli.show import print_table
    from holdfast.study.rewards import training_environment, wages

    found = wages(training_environment(worlds, seeds=4))
    twins = list(found[0].by_twin)
    paid = [(wage.mean, *(wage.by_twin[twin] for twin in twins)) for wage in found]
    rows = [
        (wage.policy, *("unscored" if mean is None else f"{mean:+.2f}" for mean in means))
        for wage, means in zip(found, paid, strict=True)
    ]
    print_table(("policy", "mean", *twins), rows, right=("mean", *twins))
    click.echo("The proper policy has the highest reward in every twin; otherwise the reward is rejected.")


def _print_results(folder: Path) -> None:
    """Print the metrics of a finished stage before and after training."""
    from holdfast.cli.show import print_table
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
    print_table((folder.name, "before", after), rows, right=("before", after))
