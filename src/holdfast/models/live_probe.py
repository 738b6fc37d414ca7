"""Checks a served model before its first request with one short conversation that has a known course.

    faults = probe_with(model, live_probe(system=True, tools=True))
    faults = await converse(ask, live_probe(system=True, tools=True))

What a server's template drops cannot be rendered here, so the model is asked: to call a tool, and, behind its result,
for a word of the system message and for the result.  `live_probe` does no input or output: it yields requests and takes
outputs, so that any driver can send them and charge them to its budget: `measure` and judges with `probe_with`, Inspect
tasks and `teach` with `converse`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace

from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolSpec
from holdfast.models.base import PROBE, Model, Output, Request
from holdfast.models.chat_format import system_in_user
from holdfast.models.pool import Asked
from holdfast.models.probe import FOLDED, TAGGED, ProbeFault, require_round_trip
from holdfast.models.registry import runs_here

SKIP = "--skip-probe"
#: Sentence for the limits of a report whose run did without the probe.
NOT_PROBED = (
    "Served models were not probed before the run: it is not known whether system message, tool calls and tool results "
    "arrive unchanged."
)
_TOOL = ToolSpec(name="find_animal", description="Finds an animal.", parameters={"burrow": "where it lives"})
_WORD, _RESULT, _BURROW = "wombat", "tapir", "heath"
_SYSTEM = Message(
    role="system", content=f"You answer technical checks. The keeper's word is {_WORD}; tell it if asked."
)
_CALL = Message(role="user", content=f"Technical check: call {_TOOL.name} with burrow = {_BURROW} once. Then say done.")
_RECALL = Message(
    role="user", content="Which animal did the tool find, and what is the keeper's word? Both words only."
)
_FOUND = Message(role="user", content="Which animal did the tool find? One word only.")
_KEEPER = Message(role="user", content="Technical check: what is the keeper's word? One word only.")
_REPEAT = Message(role="user", content=f"Technical check: the keeper's word is {_WORD}. What is the keeper's word?")
_LONGEST = 2048

Conversation = Generator[Request, Output, list[ProbeFault]]


def live_probe(*, system: bool, tools: bool, folded: bool = False) -> Conversation:
    """Hold the conversation; yields requests, takes outputs, and returns what was lost.

    Without a system message and tools, only the user's message is checked: a word of it must be in the answer.

    A request that fails for a reason of its own (no server, no key) is no fault of the round trip: the list is then
    empty, and the run reports the failure.

    Args:
        system: whether conversations begin with a system message.
        tools: whether the model gets tools.
        folded: whether the run puts the system message at the start of the first user message.
    """
    head = [*([_SYSTEM] if system else []), _CALL if tools else _KEEPER if system else _REPEAT]
    messages = list(system_in_user(head)) if folded else head
    request = Request(PROBE, messages, (_TOOL,) if tools else (), max_tokens=_LONGEST)
    output = yield request
    if output.finish == "error":
        return (yield from _refused(request, output))
    if lost := _no_answer(output):
        return [lost]
    if not tools:
        return _forgotten(output, {_WORD: "the system message" if system else "the user's message"})
    if fault := _call_fault(output.message):
        return [fault]
    messages = [*messages, output.message, *_results(output.message)]
    output = yield replace(request, messages=messages)
    if output.finish == "error":
        reason = _reason(output)
        return (
            []
            if output.retry_after is not None
            else [ProbeFault(f"a tool result, which is refused ({reason})", TAGGED)]
        )
    if lost := _no_answer(output):
        return [lost]
    messages = [*messages, output.message, *_results(output.message), _RECALL if system else _FOUND]
    output = yield replace(request, messages=messages)
    if output.finish == "error":
        reason = _reason(output)
        what = f"a second user message, which is refused ({reason})"
        return [] if output.retry_after is not None else [ProbeFault(what, TAGGED)]
    expected = {_RESULT: "the tool result"} | ({_WORD: "the system message"} if system else {})
    return [lost] if (lost := _no_answer(output)) else _forgotten(output, expected)


def _results(turn: Message) -> list[Message]:
    return [Message(role="tool", content=_RESULT, tool_call_id=call.id) for call in turn.tool_calls]


def _call_fault(turn: Message) -> ProbeFault | None:
    """What is wrong with the call that the model was asked for."""
    if turn.unread:
        return ProbeFault(f"a tool call, which cannot be read: {turn.unread}", TAGGED)
    if not turn.tool_calls:
        return ProbeFault("a tool call: asked for one, the model answered with text", TAGGED)
    call = turn.tool_calls[0]
    if call.name != _TOOL.name or _BURROW not in " ".join(call.arguments.values()).lower():
        return ProbeFault("a tool call: its name or argument did not arrive as the model was asked to write it", TAGGED)
    return None


def _no_answer(output: Output) -> ProbeFault | None:
    turn = output.message
    if output.finish in ("length", "refused") and not turn.tool_calls:
        how = "was truncated" if output.finish == "length" else "was refused"
        return ProbeFault(f"the probe: its answer {how}", "")
    return None


def _forgotten(output: Output, expected: dict[str, str]) -> list[ProbeFault]:
    """The parts of the conversation whose word the last answer lacks."""
    text = f"{output.message.reasoning or ''} {output.message.content}".lower()
    remedies = {"the system message": FOLDED, "the tool result": TAGGED}
    return [
        ProbeFault(f"{what}: asked for a word of it, the model does not know it", remedies.get(what, ""))
        for word, what in expected.items()
        if word not in text
    ]


def _reason(output: Output) -> str:
    return " ".join((output.error or "no reason given").split())[:200]


def _refused(request: Request, output: Output) -> Conversation:
    """Find out what of the first request the server refuses, by leaving it out."""
    if output.retry_after is not None:
        return []
    reason = _reason(output)
    if request.tools and (yield replace(request, tools=())).finish != "error":
        return [ProbeFault(f"the tools, which the server refuses ({reason})", TAGGED)]
    folded = system_in_user(request.messages)
    if folded != tuple(request.messages) and (yield replace(request, messages=folded)).finish != "error":
        return [ProbeFault(f"the system message, which the server refuses ({reason})", FOLDED)]
    return []


def probe_with(model: Model, talk: Conversation) -> list[ProbeFault]:
    """Send the requests of a probe one by one and return what was lost.

    Raises:
        HoldfastError: the model is metered and its budget does not allow a request.
    """
    try:
        request = next(talk)
        while True:
            [output] = model.generate([request])
            if refusal := getattr(model, "refusal", None):
                raise refusal
            request = talk.send(output)
    except StopIteration as ended:
        faults: list[ProbeFault] = ended.value
        return faults


async def converse(ask: Callable[[Request], Awaitable[Output]], talk: Conversation) -> list[ProbeFault]:
    """Send the requests of a probe one by one through `ask` and return what was lost."""
    try:
        request = next(talk)
        while True:
            request = talk.send(await ask(request))
    except StopIteration as ended:
        faults: list[ProbeFault] = ended.value
        return faults


def is_served(model: Model) -> bool:
    """Whether a server answers for the model, so that only a request can show what its template drops."""
    return isinstance(model, Asked) and not runs_here(model.name)


def refuse_faults(name: str, faults: Sequence[ProbeFault], remedy: str = "") -> None:
    """Raise an error if something was lost.

    Args:
        name: name of the model.
        faults: what was lost.
        remedy: what to do; by default the options of `measure` that avoid the faults, and the one that skips the probe.

    Raises:
        ModelError: names what was lost and the remedy.
    """
    if not faults:
        return
    options = " and ".join(dict.fromkeys(fault.remedy for fault in faults if fault.remedy))
    what = "; ".join(dict.fromkeys(fault.what for fault in faults))
    avoid = f"measure with {options}, or, to go on without the probe, {SKIP}" if options else f"measure with {SKIP}"
    raise ModelError(f"{name} loses {what}", remedy=remedy or avoid)


class ProbedModel:
    """A judge that is probed before its first request: a judge that does not see its rubric decides about nothing.

    Args:
        model: the judge.
        served: whether to probe it with requests; `is_served` tells, unless the user skips the probe.

    Raises:
        ModelError: on opening, if its chat template drops the system message; on the first request, if its server does.
    """

    def __init__(self, model: Model, *, served: bool) -> None:
        require_round_trip(model, system=True, tools=False)
        self.model, self.name, self.identity = model, model.name, model.identity
        self._open = served

    def check(self) -> None:
        """Probe the model, once.

        Raises:
            ModelError: its server drops the system message.
        """
        if self._open:
            self._open = False
            faults = probe_with(self.model, live_probe(system=True, tools=False))
            refuse_faults(self.name, faults, f"name another judge, or, to go on without the probe, {SKIP}")

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one Output for each Request."""
        self.check()
        return self.model.generate(requests)
