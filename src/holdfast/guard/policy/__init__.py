"""guard.policy: one readable YAML file, enforced as Cedar and told to the agent as a brief.

    policy = load_policy(Path("policy.yaml"))
    decision = policy.decide(act, Context(now=datetime.now(UTC), counts=counts, labels=labels))
    decision = Standing(policy, store).decide(act)    # the same, with a memory of what runs have spent and read

`Context` says what the guard knows while it decides; `policy.needs(act)` names the counters it must hold,
`policy.leaves(act)` what the act spends and which labels its run gains.  All that goes wrong in a decision is a deny.
docs/guard-policy.md explains the file.
"""

from holdfast.guard.policy.brief import brief
from holdfast.guard.policy.budgets import PolicyState
from holdfast.guard.policy.load import check_tools, load_policy
from holdfast.guard.policy.policy import BudgetUse, Context, Policy

__all__ = ["BudgetUse", "Context", "Policy", "PolicyState", "brief", "check_tools", "load_policy"]
