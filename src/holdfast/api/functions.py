"""One function for each task: open a model, build cases, measure, teach, train, run a study, verify, guard.

    results = measure("scripted/blackmailer", suite="insider-classic", cases=2, out="results/mine")
    results.table

The functions take names and paths, print progress to standard error, and return objects that show themselves in a
notebook.  Each imports its room when it is called, so that `import holdfast` stays light and needs no extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import IncompleteError, InputError
from holdfast.core.extras import needs
from holdfast.models.base import Model
from holdfast.models.registry import open_model as open_model

if TYPE_CHECKING:
    from holdfast.api.results import Results
    from holdfast.core.records import Case, Example
    from holdfast.data.card import Card
    from holdfast.evals.control import Control
    from holdfast.guard.adapters.python import ToolGuard
    from holdfast.study.compare_folders import Comparison
    from holdfast.study.verify import Verification

#: A path, or its text.
Folder = str | PathLike[str]


@dataclass(frozen=True)
class WorldInfo:
    """A world in brief; `split` says whether it may be trained on."""

    name: str
    family: str
    split: str
    language: str
    title: str


def worlds(language: str | None = None) -> list[WorldInfo]:
    """Every world, or those of one language (`office` or `pocket`)."""
    from holdfast.scenarios.catalogue import all_worlds as every_world

    return [
        WorldInfo(world.name, world.spec.family, world.split, world.spec.language, world.spec.title)
        for world in every_world()
        if language in (None, world.spec.language)
    ]


def cases(
    names: str | Sequence[str], twins: str | Sequence[str] = "pressured", seeds: Iterable[int] = (0,)
) -> list[Case]:
    """The cases of worlds × twins × seeds: exactly what a model would see.

    Args:
        names: one world or several.
        twins: one twin or several.
        seeds: case seeds.

    Raises:
        WorldError: an unknown world or twin.
    """
    from holdfast.scenarios.catalogue import cases as build

    return build(_several(names), _several(twins), seeds)


def measure(model: str | Model, out: Folder, **options: Any) -> Results:
    """Measure what a model does under pressure, and return the results.

    To resume, call it again with the same `out`. Naming an API model permits network access to it.

    Args:
        model: name of a model, or an open one.
        out: results folder.
        **options: fields of `holdfast.study.configure.MeasureOptions`, such as suite="insider-classic", cases=2,
            temperature=1.0, judge="openai/…" or budget=5. Either `suite` or `worlds` is required.

    Raises:
        InputError: an option is unknown or wrong.
        IncompleteError: interrupted or out of budget, or an arm has no scored sample. What is there is kept.
    """
    with needs("measure"):
        from holdfast.api.results import Results
        from holdfast.study.configure import MeasureOptions, configure
        from holdfast.study.measure import measure as run
        from holdfast.study.progress import show_progress

    chosen = MeasureOptions.model_validate(_checked(options, MeasureOptions.model_fields))
    name = model if isinstance(model, str) else model.name
    controls: tuple[Control, ...] = ()
    if chosen.guard is not None:
        with needs("guard"):
            from holdfast.study.guard_arms import guard_arms
        controls = guard_arms(chosen, _open)
    config = configure(name, chosen, controls)
    opened = _open(model) if isinstance(model, str) else model
    judges = [_open(judge) for judge in config.judging.names] if config.judging else []
    with show_progress() as watch:
        run(config, Path(out), opened, chosen.budget_for(name), watch, judges=judges)
    return _finished(Results(Path(out)))


@dataclass(frozen=True)
class TrainingSet:
    """A folder of training examples and its card."""

    folder: Path
    card: Card

    @property
    def examples(self) -> list[Example]:
        """The examples, in order."""
        from holdfast.core.records import Example
        from holdfast.core.store import RunFolder
        from holdfast.data.card import EXAMPLES

        return RunFolder(self.folder).read(EXAMPLES, Example)


def teach(
    recipe: str,
    tokens: int,
    out: Folder,
    *,
    teacher: str = "pocket/author",
    model: str = "organism/pocket",
    skip_probe: bool = False,
) -> TrainingSet:
    """Write a training set by a recipe.  To resume, call it again with the same `out`.

    Args:
        recipe: name of a recipe or of a written set; `holdfast teach list` lists them.
        tokens: size of the set in tokens of `model`.
        out: folder of the set.
        teacher: name of the model that writes it. The default writes the pocket language offline.
        model: checkpoint to be trained; its tokenizer counts.
        skip_probe: do not ask a served teacher first if what it is asked arrives.

    Raises:
        InputError: an unknown recipe or a size below 1.
        ModelError: what the teacher is asked does not arrive.
        IncompleteError: the run stopped before its end; answers are kept.
    """
    with needs("teach"):
        from holdfast.data.engine import Roles, RunLimits
        from holdfast.data.recipes import RecipeChoice, load_recipe
        from holdfast.data.sets import SetRequest
        from holdfast.data.sets import teach as run
        from holdfast.models.checkpoints import checkpoint_path

    language = "pocket" if teacher.startswith("pocket/") else "english"
    request = SetRequest(load_recipe(recipe, RecipeChoice(language=language)), tokens, 0, checkpoint_path(model))
    limits = RunLimits(skip_probe=skip_probe)
    return TrainingSet(Path(out), run(request, Roles((_open(teacher),)), Path(out), limits=limits))


def train_model(base: str, training_set: TrainingSet | Sequence[Example], out: Folder, **settings: Any) -> str:
    """Fine-tune a checkpoint and return the name under which the new one opens (`hf/…`).

    To resume, call it again with the same `out` and inputs; a finished training returns at once.

    Args:
        base: name of the model to start from, such as `organism/pocket` or `hf/PATH`.
        training_set: what `teach` returned, or examples.
        out: folder of the new checkpoint.
        **settings: fields of `holdfast.train.config.TrainConfig`, such as stage="sft", lr=1e-3 or seed=1.

    Raises:
        ConfigError: a setting is wrong.
        MaskError: the supervised tokens are not those that should be supervised.
    """
    with needs("local"):
        from holdfast.models.checkpoints import checkpoint_path
        from holdfast.train.config import TrainConfig
        from holdfast.train.run import train

    config = TrainConfig.model_validate(_checked(settings, TrainConfig.model_fields))
    examples = training_set.examples if isinstance(training_set, TrainingSet) else list(training_set)
    train(checkpoint_path(base), examples, config, Path(out))
    return f"hf/{Path(out)}"


def run_study(file: Folder, out: Folder | None = None, *, workers: int = 1) -> Results:
    """Run a study file: all arms, controls and training seeds.  To resume, call it again.

    Args:
        file: the study file.
        out: results folder; by default `results/NAME`.
        workers: worker processes. More than one needs a script with `if __name__ == "__main__"`.

    Raises:
        ConfigError: the study file is wrong.
        IncompleteError: interrupted; finished work is kept.
    """
    with needs("local"):
        from holdfast.api.results import Results
        from holdfast.study import wiring
        from holdfast.study.progress import show_progress

    study = wiring.open_study(Path(file))
    folder = Path(out) if out else Path("results") / study.name
    with show_progress() as watch:
        wiring.run_study(study, folder, workers=workers, watch=watch)
    return _finished(Results(folder))


def load_results(folder: Folder) -> Results:
    """Open a results folder.

    Raises:
        ResultsError: there is no summary in it, or it cannot be read.
    """
    with needs("measure"):
        from holdfast.api.results import Results

    results = Results(Path(folder))
    _ = results.summary
    return results


def verify(folder: Folder, root: str | None = None) -> Verification:
    """Check a results folder: files against their hashes, numbers against transcripts.

    Args:
        folder: the results folder.
        root: a published root hash that the folder's must equal.
    """
    with needs("measure"):
        from holdfast.api.results import Results

    return Results(Path(folder)).verify(root)


def compare(a: Folder, b: Folder) -> Comparison:
    """Compare two results folders: `a` minus `b`, paired where both played the same cases.

    Raises:
        InputError: they have no arm, world and twin in common.
    """
    with needs("measure"):
        from holdfast.study.compare_folders import compare_folders

    return compare_folders(Path(a), Path(b))


@contextmanager
def open_guard(policy: Folder, *, agent: str, server: str, state: Folder, run: str = "notebook") -> Iterator[ToolGuard]:
    """A guard for an agent's Python tools, for as long as the block lasts.

        with open_guard("policy.yaml", agent="clerk", server="office", state="guard") as guard:
            send_mail = guard.guarded(send_mail)

    Args:
        policy: path of the policy.
        agent: the agent, as the policy names it.
        server: where these tools live, as the policy names it.
        state: the guard's folder: key, audit log, approvals and concerns.
        run: name of this run of the agent; the agent must not choose it.

    Raises:
        ConfigError: the policy is wrong.
        RefusedError: other users may read the folder.
    """
    with needs("guard"):
        from holdfast.guard.adapters.python import ToolGuard
        from holdfast.guard.policy.load import load_policy
        from holdfast.guard.setup import open_gate

    with open_gate(Path(state), load_policy(Path(policy))) as (gate, _):
        yield ToolGuard(gate, run=run, agent=agent, server=server)


def _finished(results: Results) -> Results:
    """The results of a run that has ended, with their pages drawn."""
    from holdfast.report.missing import empty_arms

    results.draw()
    if why := empty_arms(results.summary):
        raise IncompleteError(why, where=results.folder, remedy="see load_results(…).unscored")
    return results


def _open(name: str) -> Model:
    """Open a model by name. Naming an API model permits network access to it."""
    return open_model(name, network=True)


def _several(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _checked(options: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The options, if all are known; one name in place of several is taken for a list of one."""
    from holdfast.core.config import nearest

    names = list(known)
    for name in options:
        if name not in names:
            near = nearest(name, names)
            remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(names)}"
            raise InputError(f"no option called '{name}'", remedy=remedy)
    return {
        name: (value,) if name in ("worlds", "twins") and isinstance(value, str) else value
        for name, value in options.items()
    }
