"""Probes the model of an Inspect task once before its first sample; see `models.live_probe`."""

from __future__ import annotations

import asyncio

from inspect_ai.model import ChatMessageAssistant, GenerateConfig
from inspect_ai.model import Model as InspectModel

from holdfast.core.errors import ModelError
from holdfast.core.records import Case, Message
from holdfast.evals.batch_driver import template_needs
from holdfast.models.api import from_output, inspect_messages, sendable, tool_infos
from holdfast.models.base import Output, Request
from holdfast.models.live_probe import Conversation, converse, live_probe
from holdfast.models.probe import ProbeFault

#: Models that have no round trip to probe, or that hold only the conversations of a case.
_SCRIPTED = ("scripted/", "organism/", "mockllm/")


class InspectProbe:
    """The probe of the model of one task.

    Args:
        wanted: whether to probe; None probes any model but scripted ones.
    """

    def __init__(self, wanted: bool | None) -> None:
        self._wanted = wanted
        self._faults: dict[tuple[str, bool, bool], asyncio.Future[list[ProbeFault]]] = {}

    async def check(self, model: InspectModel, case: Case) -> None:
        """Probe the model if no earlier sample did.

        Raises:
            ModelError: a part of the conversation is lost; so every sample of the task ends as an error.
        """
        name = str(model)
        if self._wanted is False or (self._wanted is None and name.startswith(_SCRIPTED)):
            return
        [(system, tools)] = template_needs([case]) or [(False, False)]
        key = name, system, tools
        if key not in self._faults:
            self._faults[key] = asyncio.ensure_future(_held(model, live_probe(system=system, tools=tools)))
        if faults := await asyncio.shield(self._faults[key]):
            what = "; ".join(fault.what for fault in faults)
            remedy = "use `holdfast measure` with --interface tagged or --system-in-user, or go on with -T probe=false"
            raise ModelError(f"{name} loses {what}", remedy=remedy)


async def _held(model: InspectModel, talk: Conversation) -> list[ProbeFault]:
    """Hold the conversation of the probe and return what was lost."""
    originals: dict[int, ChatMessageAssistant] = {}
    return await converse(lambda request: _answer(model, request, originals), talk)


async def _answer(model: InspectModel, request: Request, originals: dict[int, ChatMessageAssistant]) -> Output:
    config = GenerateConfig(max_tokens=request.max_tokens, temperature=request.temperature)
    messages = inspect_messages(request.messages, originals)
    try:
        output = await model.generate(messages, tools=tool_infos(request.tools), config=config)
    except Exception as error:  # each provider has its own exception types
        return Output(Message(role="assistant"), "error", error=f"{type(error).__name__}: {error}")
    if output.choices:
        originals[len(request.messages)] = sendable(output.message)
    return from_output(output, request.tools)
