"""Send requests from every node of a Ray cluster and collect the answers in one response cache.

Each node runs one actor that calls the model; the engine treats the actors as endpoints. If a node dies, its endpoint
rejects requests and the engine sends them to the others. A request in flight at that time may be paid for twice, but no
answer is lost or stored twice, because the response cache stays with the run.
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
from holdfast.models.probe import Templated
from holdfast.models.registry import open_model

#: Most concurrent requests per actor; the run decides how many it sends.
_CONCURRENCY = 1024
#: Seconds without an answer after which Ray is asked whether the node is alive.
_LIVENESS = 5.0
_GONE = Output(Message(role="assistant"), "error", error="the node is gone", retry_after=0.0)


class RemoteModel:
    """Client of a model that runs on a Ray node.

    Attributes:
        name: name of the model.
        identity: identity of the model.
        node: Ray's id of the node.
        gone: whether the node has died.
        template: chat template of the model; absent if it has none here.
    """

    def __init__(self, model: Model, actor: Any, node: str) -> None:
        self.name, self.identity = model.name, model.identity
        self.node, self.gone = node, False
        if isinstance(model, Templated):
            self.template = model.template
        self._actor = actor

    async def ask(self, request: Request) -> Output:
        """Answer one request on the node; if the node is dead, return an error so that another endpoint is used."""
        if self.gone:
            return _GONE
        answer = asyncio.ensure_future(_awaited(self._actor.ask.remote(request)))
        # When a node dies, a pending call may neither return nor fail, so Ray is asked whether the node is alive.
        while not (await asyncio.wait({answer}, timeout=_LIVENESS))[0]:
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
        """Return the answers in the order of the requests."""
        outputs: list[Output] = importlib.import_module("ray").get(
            [self._actor.ask.remote(request) for request in requests]
        )
        return outputs


async def _awaited(reference: Any) -> Output:
    output: Output = await reference
    return output


def _alive(node: str) -> bool:
    nodes = importlib.import_module("ray").nodes()
    return any(known["NodeID"] == node and known["Alive"] for known in nodes)


class _Actor:
    """The Ray actor that runs on the node."""

    def __init__(self, name: str) -> None:
        self._endpoint = Endpoint(open_model(name, network=True), RateLimits(at_once=_CONCURRENCY, start=_CONCURRENCY))

    async def ask(self, request: Request) -> Output:
        return await self._endpoint.ask(request)


def remote_models(name: str) -> list[RemoteModel]:
    """Start one actor per node of the cluster in `RAY_ADDRESS`, or of a local cluster.

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
    actor = ray.remote(num_cpus=0, max_concurrency=_CONCURRENCY)(_Actor)
    remote = []
    for node in ray.nodes():
        if node["Alive"]:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            remote.append(RemoteModel(model, actor.options(scheduling_strategy=strategy).remote(name), node["NodeID"]))
    return remote
