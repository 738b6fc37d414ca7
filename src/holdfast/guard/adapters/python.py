"""Guard plain Python functions.

guard = ToolGuard(gate, run="r1", agent="clerk", server="office")

@guard.guarded
def send_mail(to: str, text: str) -> str: ...

send_mail("ann@firm.example", "Hello.")      # the gate decides first; raises Stopped if it denies or holds the call
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
    """The gate denied or held a call; the message may be shown to the agent.

    Attributes:
        held: whether a person may still approve the call, so that repeating it exactly succeeds.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.agent_message)
        self.held = decision.answer == "hold"


@dataclass(frozen=True)
class ToolGuard:
    """Guards the tools of one server for one run of an agent.

    Attributes:
        gate: decides the calls.
        run: the run's id, chosen by whoever starts it and never by the agent.
        agent: the agent's name in the policy.
        server: the server's name in the policy.
    """

    gate: Gate
    run: str
    agent: str
    server: str

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """Wrap a function or coroutine function so that the gate decides every call.

        The call gets a JSON copy of its arguments by name, so that later changes to a list have no effect.

        Raises:
            InputError: the function has positional-only or variadic parameters, or is a generator.
            Stopped: on a call, the gate denied or held it.
        """
        signature = inspect.signature(function)
        nameless = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}
        if any(parameter.kind in nameless for parameter in signature.parameters.values()):
            what = "a guarded function cannot have positional-only or variadic parameters"
            raise InputError(what, where=function.__qualname__, remedy="remove * and / from its signature")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            remedy = "guard the functions that it calls"
            raise InputError("a generator cannot be guarded", where=function.__qualname__, remedy=remedy)
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
            found = None
            try:
                found = await cast(Any, function)(**json.loads(json.dumps(act.arguments)))
                outcome["ok"] = True
            finally:
                await asyncio.to_thread(self.gate.settle, act, outcome, _plain(found))
            return found

        @functools.wraps(function)
        def calling(*args: P.args, **kwargs: P.kwargs) -> Any:
            act = admitted(*args, **kwargs)
            outcome: dict[str, Any] = {"ok": None}
            found = None
            try:
                found = cast(Any, function)(**json.loads(json.dumps(act.arguments)))
                outcome["ok"] = True
            finally:
                self.gate.settle(act, outcome, _plain(found))
            return found

        return cast(Callable[P, T], waiting if inspect.iscoroutinefunction(function) else calling)

    def raise_concern(self, **arguments: Any) -> str:
        """Raise a concern; offer this to the agent with the guarded tools."""
        return self.gate.raise_concern(Act(self.run, self.agent, self.server, "raise_concern", arguments))


def _plain(result: object) -> Any:
    """Return a result as JSON, in which objects of other types are their text."""
    try:
        return None if result is None else json.loads(json.dumps(result, default=str, skipkeys=True))
    except (ValueError, RecursionError):
        return str(result)


def _named(signature: inspect.Signature, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    """Return the arguments of a call by name, after a JSON round trip.

    Raises:
        InputError: an argument cannot be represented in JSON.
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
            "an argument cannot be represented in JSON", remedy="pass text, numbers, lists and mappings"
        ) from None
    return copied
