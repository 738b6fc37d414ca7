"""The gate as an Inspect approver, which decides every tool call of an evaluation.

    eval(task, approval=[ApprovalPolicy(guard(policy="p.yaml", state="guard", agent="clerk"), "*")])

Inspect does not report the result of a call to an approver, so each outcome is logged as unknown. Results that the
agent has read are in the history of its next call; labelled content is remembered and recognised there.
"""

from __future__ import annotations

import atexit
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import anyio.to_thread

from holdfast.core.extras import needs
from holdfast.core.inspect_names import inspect_name
from holdfast.guard.act import Act
from holdfast.guard.concern import TOOL as CONCERN
from holdfast.guard.gate import Gate
from holdfast.guard.policy.load import load_policy
from holdfast.guard.setup import open_gate

with needs("measure"):
    from inspect_ai.approval import Approval, Approver, approver
    from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool
    from inspect_ai.tool import Tool, ToolCall, ToolCallView, tool
    from inspect_ai.util import store

_RUN = "holdfast.run"
#: ids of the calls whose results were read
_SEEN = "holdfast.results"


@approver(name=inspect_name("guard"))
def guard(policy: str, state: str, agent: str, server: str = "inspect") -> Approver:
    """Decide each call by the gate; denied and held calls are rejected with the message for the agent.

    Args:
        policy: path of the policy file.
        state: the guard's folder; one gate serves all samples of a process.
        agent: the agent's name in the policy.
        server: the name in the policy of the server that has the evaluation's tools.
    """
    gate = _gate(policy, state)

    async def approve(message: str, call: ToolCall, view: ToolCallView, history: list[ChatMessage]) -> Approval:
        if call.function == CONCERN:
            return Approval(decision="approve")
        for read, text in _results(history, run_of_sample(), agent, server):
            await anyio.to_thread.run_sync(gate.received, read, text)
        act = Act(run_of_sample(), agent, server, call.function, call.arguments)
        reasoning = _last_text(history) or message
        decision = await anyio.to_thread.run_sync(partial(gate.judge, act, reasoning=reasoning))
        if decision.answer != "allow":
            return Approval(decision="reject", explanation=decision.agent_message)
        await anyio.to_thread.run_sync(gate.settle, act, {"ok": None})
        if decision.stored is None:
            return Approval(decision="approve")
        stored = replace(call, arguments=json.loads(json.dumps(decision.stored.arguments, default=dict)))
        return Approval(decision="modify", modified=stored)

    return approve


@tool(name=CONCERN)
def raise_concern(policy: str, state: str, agent: str, server: str = "inspect") -> Tool:
    """Return the concern tool, to be given to the agent with its other tools; parameters as for `guard`."""
    gate = _gate(policy, state)

    async def execute(concern: str = "", about: str = "", implicated: str = "", case: str = "") -> str:
        """Report to an independent reviewer that something seems wrong; risky tools are held until the answer.

        Args:
            concern: What is wrong, in your own words.
            about: The subject, in a few words.
            implicated: Names of the persons involved, separated by commas; none of them will review it.
            case: Instead of all the above: the number of a case that you raised, to read its state.
        """
        given = {"concern": concern, "about": about, "implicated": implicated, "case": case}
        act = Act(run_of_sample(), agent, server, CONCERN, {name: text for name, text in given.items() if text})
        return await anyio.to_thread.run_sync(gate.raise_concern, act)

    return execute


def run_of_sample() -> str:
    """Return the run id of this sample, created on first use."""
    if store().get(_RUN) is None:
        store().set(_RUN, secrets.token_hex(8))
    return str(store().get(_RUN))


def _results(history: list[ChatMessage], run: str, agent: str, server: str) -> Iterator[tuple[Act, str]]:
    """Yield the acts of a sample whose results are new in its history, with their results."""
    seen = set(store().get(_SEEN, []))
    calls = {
        call.id: call
        for message in history
        if isinstance(message, ChatMessageAssistant)
        for call in message.tool_calls or ()
    }
    for message in history:
        identity = message.tool_call_id if isinstance(message, ChatMessageTool) and message.error is None else None
        if identity in calls and identity not in seen:
            seen.add(identity)
            call = calls[identity]
            yield Act(run, agent, server, call.function, call.arguments), message.text
    store().set(_SEEN, sorted(seen))


def _last_text(history: list[ChatMessage]) -> str:
    last = history[-1] if history else None
    return last.text if isinstance(last, ChatMessageAssistant) else ""


@cache
def _gate(policy: str, state: str) -> Gate:
    stack = ExitStack()
    gate, _ = stack.enter_context(open_gate(Path(state), load_policy(Path(policy)), by_run=True))
    atexit.register(stack.close)
    return gate
