"""Makes the arms that a guard policy adds to a measurement; needs the `guard` extra, as no other measurement does."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.errors import InputError
from holdfast.evals.control import Control
from holdfast.evals.guarded import ask_model, guard_controls, policy_alone
from holdfast.guard.policy.load import load_policy
from holdfast.models.base import Model
from holdfast.models.prices import is_free
from holdfast.study.configure import MeasureOptions


def guard_arms(options: MeasureOptions, opening: Callable[[str], Model]) -> tuple[Control, ...]:
    """Make the policy an arm; with `stack` or `monitor` also make arms of its parts and of all parts together.

    Args:
        options: the options of the measurement; without a policy there are no arms.
        opening: opens the monitor by name.

    Raises:
        ConfigError: the policy is wrong.
        InputError: the cost of the monitor cannot be counted against the budget.
    """
    if options.guard is None:
        return ()
    policy = load_policy(options.guard)
    if options.monitor and options.budget and not is_free(options.monitor):
        remedy = "leave out the budget, or name a monitor that runs on this machine"
        raise InputError(f"the cost of the monitor {options.monitor} is not counted against a budget", remedy=remedy)
    if not (options.stack or options.monitor):
        return (policy_alone(policy),)
    monitor = opening(options.monitor) if options.monitor else None
    return guard_controls(policy, (monitor.identity, ask_model(monitor)) if monitor else None)
