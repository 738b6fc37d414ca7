"""The tasks, solvers, scorers and providers that Inspect loads (entry point group `inspect_ai`)."""

from holdfast.evals.inspect_driver import episode, harm_by_cell, insider, rates, suite_task, verdict
from holdfast.evals.providers import OrganismAPI, ScriptedAPI
from holdfast.scenarios.suite import suite_names

#: One task per file in `scenarios/suites`.
suites = [suite_task(name) for name in suite_names()]

__all__ = ["OrganismAPI", "ScriptedAPI", "episode", "harm_by_cell", "insider", "rates", "suites", "verdict"]
