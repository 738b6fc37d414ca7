"""What Inspect finds when it loads the package (entry point group `inspect_ai`)."""

from holdfast.evals.inspect_driver import episode, insider, rates, verdict
from holdfast.evals.providers import OrganismAPI, ScriptedAPI

__all__ = ["OrganismAPI", "ScriptedAPI", "episode", "insider", "rates", "verdict"]
