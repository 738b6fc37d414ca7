"""Checks before the first case that a chat template and the parser lose nothing of a conversation.

    faults = probe(ChatTemplate(tokenizer))
    require_round_trip(model, system=True, tools=True)      # raises if something is lost

The probe renders short conversations with known words: a system message, tools, a call, two parallel calls with their
results, a second user message, reasoning.  Each word must be in the prompt, and each call and reasoning that the
template renders must be parsed back to the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.models.chat_format import system_in_user
from holdfast.models.chat_template import REFUSALS, ChatTemplate, turn_text

TAGGED = "--interface tagged"
FOLDED = "--system-in-user"
_SYSTEM, _ASK, _NEXT = "wombat", "quagga", "okapi"
_ANSWER, _THOUGHT, _RESULTS = "ibex", "gnu", ("tapir", "lynx")
_TOOLS = (
    ToolSpec(name="find_animal", description="Finds an animal.", parameters={"burrow": "where it lives"}),
    ToolSpec(name="feed_animal", description="Feeds an animal.", parameters={"fodder": "what it gets"}),
)
#: Words about the tools that the prompt must contain.  Descriptions are not among them: some templates omit them.
_TOOL_WORDS = ("find_animal", "burrow", "feed_animal", "fodder")
#: Characters on which templates and parsers fail.
_ODD = 'heath & "moor" <b>\n\n{x} é'
_CALLS = (
    ToolCall(id="000000001", name="find_animal", arguments={"burrow": "heath"}),
    ToolCall(id="000000002", name="feed_animal", arguments={"fodder": "clover"}),
)


@dataclass(frozen=True, slots=True)
class ProbeFault:
    """Something that is dropped or not parsed back; `remedy` is the option of `measure` that avoids it, if any."""

    what: str
    remedy: str


@runtime_checkable
class Templated(Protocol):
    """A model with a chat template."""

    name: str
    template: ChatTemplate


class _Probe:
    """The probe of one template, with or without a system message and tools."""

    def __init__(self, template: ChatTemplate, system: bool, tools: bool) -> None:
        self.template, self.tools = template, _TOOLS if tools else ()
        head = [Message(role="system", content=_SYSTEM)] if system else []
        self.ask = [*head, Message(role="user", content=_ASK)]
        self.words = [("the system message", _SYSTEM)] if system else []
        self.faults: list[ProbeFault] = []

    def shows(self, when: str, messages: Sequence[Message], words: Iterable[tuple[str, str]]) -> None:
        """Check that a prompt contains the words; each lost part is reported once."""
        try:
            text = self.template.render(messages, self.tools, prompt=True)
        except REFUSALS as error:
            self._refused(when, messages, error)
            return
        lost = dict.fromkeys(what for what, word in (*self.words, *words) if word not in text)
        named = " ".join(fault.what for fault in self.faults)
        for what in lost:
            if what not in named:
                part = f"{what} {when}".strip() if what == "the system message" else what
                self.faults.append(ProbeFault(part, FOLDED if what == "the system message" else TAGGED))

    def _refused(self, when: str, messages: Sequence[Message], error: Exception) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        first = messages[0].role == "system"
        if first and self._renders(system_in_user(messages)):
            self.faults.append(ProbeFault(f"the system message, which it refuses ({reason})", FOLDED))
        elif not any("refuses" in fault.what for fault in self.faults):
            what = f"a conversation {when}".strip()
            self.faults.append(ProbeFault(f"{what}, which it refuses ({reason})", TAGGED))

    def _renders(self, messages: Sequence[Message]) -> bool:
        try:
            self.template.render(messages, self.tools, prompt=True)
        except REFUSALS:
            return False
        return True

    def reads_back(self, what: str, turn: Message) -> None:
        """Check that a turn that the template renders is parsed back to the original."""
        try:
            prompt = self.template.render(self.ask, self.tools, prompt=True)
            whole = self.template.render([*self.ask, turn], self.tools)
        except REFUSALS:
            return  # `shows` reports it
        text = turn_text(prompt, whole, _ASK)
        # A template may render the start of an earlier turn differently from the start of the turn to complete.
        opening = prompt if prompt.rpartition(_ASK)[2] + text == whole.rpartition(_ASK)[2] else ""
        parsed = self.template.read(self.template.spoken_text(text), self.tools, opening)
        calls = [(call.name, call.arguments) for call in parsed.tool_calls]
        if calls != [(call.name, call.arguments) for call in turn.tool_calls]:
            # A template that renders one call per turn gets one call per turn.
            if not (len(turn.tool_calls) > 1 and self.template.one_call):
                lost = f"{what}: the form that the template writes cannot be parsed back"
                self.faults.append(ProbeFault(lost, TAGGED))
        elif turn.reasoning and turn.reasoning in text and turn.reasoning not in (parsed.reasoning or ""):
            self.faults.append(ProbeFault("reasoning: the form that the template writes is parsed as an answer", ""))


def probe(template: ChatTemplate, *, system: bool = True, tools: bool = True) -> list[ProbeFault]:
    """List what a conversation loses on a round trip through template and parser; empty if nothing.

    Args:
        template: the chat template of the model.
        system: whether conversations begin with a system message.
        tools: whether the model gets tools, and so has more than one turn.
    """
    run = _Probe(template, system, tools)
    run.shows(
        "",
        run.ask,
        [("the first user message", _ASK), *((("the tools", word) for word in _TOOL_WORDS) if tools else ())],
    )
    answer = Message(role="assistant", content=_ANSWER)
    run.reads_back("an answer", answer)
    run.reads_back("reasoning", answer.model_copy(update={"reasoning": _THOUGHT}))
    if not tools or (run.faults and not all(fault.remedy == FOLDED for fault in run.faults)):
        return run.faults
    one, both = (Message(role="assistant", tool_calls=_CALLS[:count]) for count in (1, 2))
    results = [Message(role="tool", content=r, tool_call_id=c.id) for r, c in zip(_RESULTS, _CALLS, strict=True)]
    called = [("a tool call", "find_animal"), ("a tool call", "heath")]
    run.shows("after a tool call", [*run.ask, one, results[0]], [*called, ("a tool result", _RESULTS[0])])
    parallel = [*called, ("parallel tool calls", "clover"), *(("parallel tool results", word) for word in _RESULTS)]
    run.shows("after two tool calls", [*run.ask, both, *results], parallel)
    later = [*run.ask, one, results[0], answer, Message(role="user", content=_NEXT)]
    words = [("an earlier answer", _ANSWER), ("the second user message", _NEXT), ("the first user message", _ASK)]
    run.shows("in a second turn", later, words)
    odd = _CALLS[0].model_copy(update={"arguments": {"burrow": _ODD}})
    run.reads_back("a tool call", one.model_copy(update={"tool_calls": (odd,)}))
    run.reads_back("parallel tool calls", both)
    return list(dict.fromkeys(run.faults))


def require_round_trip(model: object, *, system: bool, tools: bool, remedy: str = "") -> None:
    """Check the round trip of a model with a chat template; other models pass.

    Args:
        model: the model.
        system: whether conversations begin with a system message.
        tools: whether the model gets tools.
        remedy: what to do if something is lost; by default the options of `measure` that avoid it.

    Raises:
        ModelError: if something is lost; the message names it and the remedy.
    """
    if not isinstance(model, Templated):
        return
    faults = probe(model.template, system=system, tools=tools)
    if not faults:
        return
    what = f"the chat template of {model.name} drops {'; '.join(dict.fromkeys(fault.what for fault in faults))}"
    if remedy:
        raise ModelError(what, remedy=remedy)
    remedies = {fault.remedy for fault in faults} | ({""} if not tools else set())
    options = [option for option in (FOLDED, TAGGED) if option in remedies]
    if options == [FOLDED] and tools and probe(model.template, system=False):
        options.append(TAGGED)  # the first probe stopped at the system message, so it did not check the rest
    if "" in remedies and (tools or FOLDED not in options):
        remedy = "add a chat_template.jinja that keeps it to the tokenizer's folder"
    else:
        remedy = f"measure with {' and '.join(option for option in options if tools or option == FOLDED)}"
    raise ModelError(what, remedy=remedy)
