"""Beyond one machine: a model is asked from every node of a Ray cluster; answers come back to one ledger.

Each node has a desk, an actor that asks the model; the engine treats desks as endpoints.  The desk of a node that died
turns requests away, so the others get them: one that was out may be paid for twice, none is lost and none is in the
ledger twice, for the ledger stays with the run.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from holdfast.core.extras import needs
from holdfast.core.records import Message
from holdfast.models.base import Model, Output, Request
from holdfast.models.pool import Endpoint, RateLimits
from holdfast.models.registry import open_model

#: requests that a desk lets out at most; how many it is sent is for the run to say
_MANY = 1024
#: seconds of silence after which a node is looked for
_LOOK = 5.0
_GONE = Output(Message(role="assistant"), "error", error="the node is gone", again=0.0)


class RemoteModel:
    """A model on some node, to whoever runs the set: name and identity, and `ask`.

    Attributes:
        node: Ray's id of the node.
        gone: whether the node was found dead.
    """

    def __init__(self, model: Model, actor: Any, node: str) -> None:
        self.name, self.identity = model.name, model.identity
        self.node, self.gone = node, False
        self._actor = actor

    async def ask(self, request: Request) -> Output:
        """One turn, from the desk's node; where that is gone, somebody else is to be asked."""
        if self.gone:
            return _GONE
        answer = asyncio.ensure_future(_awaited(self._actor.ask.remote(request)))
        # What was out when a node died may neither come back nor fail: Ray is asked whether the node still lives.
        while not (await asyncio.wait({answer}, timeout=_LOOK))[0]:
            if self.gone or not _alive(self.node):
                answer.cancel()
                self.gone = True
                return _GONE
        exceptions = importlib.import_module("ray.exceptions")
        try:
            return await answer
        except exceptions.ActorDiedError:
            self.gone = True
            return _GONE
        except exceptions.ActorUnavailableError:
            return _GONE

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Turns in the order of the requests."""
        found: list[Output] = importlib.import_module("ray").get(
            [self._actor.ask.remote(request) for request in requests]
        )
        return found


async def _awaited(reference: Any) -> Output:
    output: Output = await reference
    return output


def _alive(node: str) -> bool:
    nodes = importlib.import_module("ray").nodes()
    return any(known["NodeID"] == node and known["Alive"] for known in nodes)


class _Behind:
    """What runs on the node."""

    def __init__(self, name: str) -> None:
        self._endpoint = Endpoint(open_model(name, network=True), RateLimits(at_once=_MANY, start=_MANY))

    async def ask(self, request: Request) -> Output:
        return await self._endpoint.ask(request)


def remote_models(name: str) -> list[RemoteModel]:
    """One desk for a model on every node of the cluster that `RAY_ADDRESS` names, or of a local one.

    Raises:
        PrerequisiteError: Ray is not installed.
        ModelError: the model cannot be opened.
    """
    with needs("cluster"):
        ray: Any = importlib.import_module("ray")
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    model = open_model(name, network=True)
    made = ray.remote(num_cpus=0, max_concurrency=_MANY)(_Behind)
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            found.append(RemoteModel(model, made.options(scheduling_strategy=there).remote(name), node["NodeID"]))
    return found
