"""guard.policy: a YAML policy that is enforced as Cedar and given to the agent as a brief.

    policy = load_policy(Path("policy.yaml"))
    decision = policy.decide(act, Context(now=datetime.now(UTC), counts=counts, labels=labels))
    decision = PolicyState(policy, store).decide(act)    # the same, with counters and labels kept in the store

`Context` holds what the guard knows when it decides. `policy.needs(act)` names the counters that it must contain;
`policy.leaves(act)` returns what the act spends and which labels its run gains. Any error denies the act.
docs/guard-policy.md explains the file format.
"""

from holdfast.guard.policy.brief import brief
from holdfast.guard.policy.budgets import PolicyState
from holdfast.guard.policy.load import check_tools, load_policy
from holdfast.guard.policy.policy import BudgetUse, Context, Policy

__all__ = ["BudgetUse", "Context", "Policy", "PolicyState", "brief", "check_tools", "load_policy"]
