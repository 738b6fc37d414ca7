"""Guard a plain Python function.

door = Door(gate, run="r1", agent="clerk", server="office")

@door.guarded
def send_mail(to: str, text: str) -> str: ...

send_mail("ann@firm.example", "Hello.")      # asks the gate first; raises Stopped where it says no
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from holdfast.core.errors import HoldfastError, InputError
from holdfast.core.identity import key_of
from holdfast.guard.act import Act, Decision
from holdfast.guard.gate import Gate

P = ParamSpec("P")
T = TypeVar("T")


class Stopped(HoldfastError):
    """The gate did not let a call pass; the message is what the agent may read.

    Attributes:
        held: whether a person may still approve it, after which the very same call passes.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.agent_message)
        self.held = decision.answer == "hold"


@dataclass(frozen=True)
class Door:
    """Where one run of an agent meets the tools of one server.

    Attributes:
        gate: decides.
        run: the run's name, chosen by whoever starts it and never by the agent.
        agent: the agent, as the policy calls it.
        server: what the policy calls the place where these tools live.
    """

    gate: Gate
    run: str
    agent: str
    server: str

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """Ask the gate before every call of `function`, which may be a coroutine function.

        The call gets a copy of its arguments, by name and as JSON: what was decided about is what runs, even where
        somebody changes a list meanwhile.

        Raises:
            InputError: the function has parameters without names, or hands out its work piece by piece.
            Stopped: on a call, the gate did not let it pass, or its arguments are nothing that a policy can read.
        """
        signature = inspect.signature(function)
        nameless = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}
        if any(parameter.kind in nameless for parameter in signature.parameters.values()):
            raise InputError("a guarded function names its parameters", where=function.__qualname__, remedy="no * or /")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InputError("a generator cannot be guarded", where=function.__qualname__, remedy="guard what it calls")
        definition = key_of([function.__qualname__, str(signature), function.__doc__])
        named = functools.partial(_named, signature)

        def admitted(*args: P.args, **kwargs: P.kwargs) -> Act:
            act = Act(self.run, self.agent, self.server, function.__name__, named(*args, **kwargs), definition)
            decision = self.gate.judge(act)
            if decision.answer != "allow":
                raise Stopped(decision)
            return decision.stored or act

        @functools.wraps(function)
        async def waiting(*args: P.args, **kwargs: P.kwargs) -> Any:
            act = await asyncio.to_thread(admitted, *args, **kwargs)
            outcome: dict[str, Any] = {"ok": None}
            try:
                found = await cast(Any, function)(**json.loads(json.dumps(act.arguments)))
                outcome["ok"] = True
            finally:
                await asyncio.to_thread(self.gate.settle, act, outcome)
            return found

        @functools.wraps(function)
        def calling(*args: P.args, **kwargs: P.kwargs) -> Any:
            act = admitted(*args, **kwargs)
            outcome: dict[str, Any] = {"ok": None}
            try:
                found = cast(Any, function)(**json.loads(json.dumps(act.arguments)))
                outcome["ok"] = True
            finally:
                self.gate.settle(act, outcome)
            return found

        return cast(Callable[P, T], waiting if inspect.iscoroutinefunction(function) else calling)

    def raise_concern(self, **arguments: Any) -> str:
        """The agent's way out, to be offered beside the guarded tools."""
        return self.gate.raise_concern(Act(self.run, self.agent, self.server, "raise_concern", arguments))


def _named(signature: inspect.Signature, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    """The arguments of a call by name, as JSON would give them back.

    Raises:
        InputError: an argument is no JSON.
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    rest = next((p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD), None)
    arguments = {name: value for name, value in bound.arguments.items() if name != rest}
    arguments |= bound.arguments.get(rest, {}) if rest else {}
    try:
        copied: dict[str, Any] = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise InputError(
            "an argument is no JSON, so nobody can judge it", remedy="pass text, numbers and lists"
        ) from None
    return copied
