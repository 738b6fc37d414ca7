"""Probes the models of a recipe before their first request; see `models.probe` and `models.live_probe`.

A target without its system message or its tools writes acts about another situation, and nothing in the finished set
would show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from holdfast.data.stages import Role
from holdfast.models.base import Model, Output, Request
from holdfast.models.live_probe import SKIP, converse, is_served, live_probe, refuse_faults
from holdfast.models.probe import require_round_trip

#: Sends a request to one endpoint and charges it to the budget.
Send = Callable[[Model, Request], Awaitable[Output]]


class FirstProbe:
    """Probes the endpoints of a role, once for each kind of request: with or without a system message and tools.

    Args:
        endpoints: the endpoints of each role.
        send: sends the requests of the probe.
        skip: do not ask served models; chat templates on disk are checked all the same.
    """

    def __init__(self, endpoints: Mapping[Role, Sequence[Model]], send: Send, *, skip: bool = False) -> None:
        self._endpoints, self._send, self._skip = endpoints, send, skip
        self._probes: dict[tuple[Role, bool, bool], asyncio.Task[None]] = {}

    async def check(self, role: Role, request: Request) -> None:
        """Wait for the probe of a role for requests like this one; the first call starts it.

        Raises:
            ModelError: a chat template or a server drops a part of such requests.
            IncompleteError: the budget does not allow the probe.
        """
        key = role, any(message.role == "system" for message in request.messages), bool(request.tools)
        if key not in self._probes:
            self._probes[key] = asyncio.create_task(self._probe(*key))
        # An item that is cancelled must not cancel the probe of the others.
        await asyncio.shield(self._probes[key])

    async def _probe(self, role: Role, system: bool, tools: bool) -> None:
        remedy = f"name another model or server with --{role}"
        models = self._endpoints[role]
        for model in models:
            require_round_trip(model, system=system, tools=tools, remedy=remedy)
        served = [model for model in models if is_served(model) and not self._skip]
        talks = (converse(partial(self._send, model), live_probe(system=system, tools=tools)) for model in served)
        for model, faults in zip(served, await asyncio.gather(*talks), strict=True):
            refuse_faults(model.name, faults, f"{remedy}, or, to go on without the probe, {SKIP}")
