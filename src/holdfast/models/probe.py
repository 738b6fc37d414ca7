"""A probe of chat template and reader together, before the first case: what a conversation loses on its way.

    faults = probe(ChatTemplate(tokenizer))
    require_round_trip(model, cases)            # raises where something is lost

Short conversations of known words are rendered: a system message, tools, a call, two calls at once with their results,
a second user message, a thought.  Each word must stand in the prompt that the model reads, and each call and thought as
the template writes it must be read back as it was.
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
#: What a model must know of its tools; some templates leave descriptions out.
_TOOL_WORDS = ("find_animal", "burrow", "feed_animal", "fodder")
#: Signs that templates and readers break on.
_ODD = 'heath & "moor" <b>\n\n{x} é'
_CALLS = (
    ToolCall(id="000000001", name="find_animal", arguments={"burrow": "heath"}),
    ToolCall(id="000000002", name="feed_animal", arguments={"fodder": "clover"}),
)


@dataclass(frozen=True, slots=True)
class ProbeFault:
    """What a template drops, or cannot be read back; `remedy` is the option of `measure` that avoids it, if any."""

    what: str
    remedy: str


@runtime_checkable
class Templated(Protocol):
    """A model behind a chat template of its own."""

    name: str
    template: ChatTemplate


class _Probe:
    """One template under probe, with or without a system message and tools."""

    def __init__(self, template: ChatTemplate, system: bool, tools: bool) -> None:
        self.template, self.tools = template, _TOOLS if tools else ()
        head = [Message(role="system", content=_SYSTEM)] if system else []
        self.ask = [*head, Message(role="user", content=_ASK)]
        self.words = [("the system message", _SYSTEM)] if system else []
        self.faults: list[ProbeFault] = []

    def shows(self, when: str, messages: Sequence[Message], words: Iterable[tuple[str, str]]) -> None:
        """See that a prompt holds the words; what is lost under another name already is not named again."""
        try:
            text = self.template.render(messages, self.tools, prompt=True)
        except REFUSALS as error:
            self._refused(when, messages, error)
            return
        lost = dict.fromkeys(what for what, word in (*self.words, *words) if word not in text)
        named = " ".join(fault.what for fault in self.faults)
        for what in lost:
            if what not in named:
                behind = f"{what} {when}".strip() if what == "the system message" else what
                self.faults.append(ProbeFault(behind, FOLDED if what == "the system message" else TAGGED))

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
        """See that a turn as the template writes it is read as it was."""
        try:
            prompt = self.template.render(self.ask, self.tools, prompt=True)
            whole = self.template.render([*self.ask, turn], self.tools)
        except REFUSALS:
            return  # told of where it is shown
        said = turn_text(prompt, whole, _ASK)
        # A template may write the opening of a past turn otherwise than it prompts for one.
        opening = prompt if prompt.rpartition(_ASK)[2] + said == whole.rpartition(_ASK)[2] else ""
        found = self.template.read(self.template.spoken_text(said), self.tools, opening)
        calls = [(call.name, call.arguments) for call in found.tool_calls]
        if calls != [(call.name, call.arguments) for call in turn.tool_calls]:
            # A template that shows one call a turn is given one.
            if not (len(turn.tool_calls) > 1 and self.template.one_call):
                self.faults.append(ProbeFault(f"{what}: as the template writes it, it cannot be read back", TAGGED))
        elif turn.reasoning and turn.reasoning in said and turn.reasoning not in (found.reasoning or ""):
            self.faults.append(ProbeFault("reasoning: as the template writes it, it is read as an answer", ""))


def probe(template: ChatTemplate, *, system: bool = True, tools: bool = True) -> list[ProbeFault]:
    """What a conversation loses on its way to the model and back; empty where it loses nothing.

    Args:
        template: of the model.
        system: whether conversations begin with a system message.
        tools: whether the model is offered tools, and so has more than one turn.
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


def require_round_trip(model: object, *, system: bool, tools: bool) -> None:
    """See that nothing is lost between the cases and a model behind a chat template; other models pass.

    Raises:
        ModelError: something is; names it, and the option of `measure` that avoids it.
    """
    if not isinstance(model, Templated):
        return
    faults = probe(model.template, system=system, tools=tools)
    if not faults:
        return
    what = "; ".join(dict.fromkeys(fault.what for fault in faults))
    remedies = {fault.remedy for fault in faults} | ({""} if not tools else set())
    options = [option for option in (FOLDED, TAGGED) if option in remedies]
    if options == [FOLDED] and tools and probe(model.template, system=False):
        options.append(TAGGED)  # what else is lost was not looked at
    if "" in remedies and (tools or FOLDED not in options):
        remedy = "put a chat_template.jinja beside the tokenizer that keeps it"
    else:
        remedy = f"measure with {' and '.join(option for option in options if tools or option == FOLDED)}"
    raise ModelError(f"the chat template of {model.name} drops {what}", remedy=remedy)
