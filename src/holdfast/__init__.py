"""Holdfast: measure whether an agent keeps to its principles under pressure, teach it why, prove it, hold the line.

    import holdfast as hf
    results = hf.measure("scripted/blackmailer", "results/mine", suite="insider-classic", cases=2)

The names below are loaded when they are first used, so importing this package loads neither torch nor Inspect.  The
rooms are sub-packages: core, models, detectors, stats, scenarios, guard, data, train, organism, evals, study, report,
api and cli.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.api.functions import TrainingSet as TrainingSet
    from holdfast.api.functions import cases as cases
    from holdfast.api.functions import compare as compare
    from holdfast.api.functions import load_results as load_results
    from holdfast.api.functions import measure as measure
    from holdfast.api.functions import open_guard as open_guard
    from holdfast.api.functions import open_model as open_model
    from holdfast.api.functions import run_study as run_study
    from holdfast.api.functions import teach as teach
    from holdfast.api.functions import train_model as train_model
    from holdfast.api.functions import verify as verify
    from holdfast.api.functions import worlds as worlds
    from holdfast.api.results import Results as Results
    from holdfast.core.errors import HoldfastError as HoldfastError
    from holdfast.core.records import Case as Case
    from holdfast.core.records import Example as Example
    from holdfast.core.records import Transcript as Transcript
    from holdfast.core.records import Verdict as Verdict
    from holdfast.models.base import Model as Model

__version__ = "0.1.0"

#: public name → the module that has it
_WHERE = {
    **dict.fromkeys(
        (
            *("open_model", "worlds", "cases", "measure", "teach", "train_model", "run_study"),
            *("load_results", "verify", "compare", "open_guard", "TrainingSet"),
        ),
        "holdfast.api.functions",
    ),
    "Results": "holdfast.api.results",
    "Model": "holdfast.models.base",
    **dict.fromkeys(("Case", "Transcript", "Verdict", "Example"), "holdfast.core.records"),
    "HoldfastError": "holdfast.core.errors",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'holdfast' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*_WHERE, "__version__"]
