"""Assemble a finished draft into an example; the recipe's form decides which labels are used.

document   `text`
chat       alternating `user` and `assistant` after `system`; tools from `tool` lines, which nothing calls
episode    `system`, `user`, `mail`s and one `call` of an office tool
tools      `system`, `user`, then alternating `call` and `result`, and `assistant` last; tools from `tool` lines
task       `system`, `user`, and how an answer is checked: `reward` (exact, number, contains) and `answer`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from holdfast.core.records import Message, ToolCall, ToolSpec
from holdfast.data.office import TOOLS, BadEpisode, before_act, office_episode
from holdfast.data.recipes import Recipe
from holdfast.data.stages import Draft, PromptStage, request_of
from holdfast.models.base import Output, Request

REWARDS = ("exact", "number", "contains")


@dataclass(frozen=True, slots=True)
class Assembled:
    """The content of an example: messages and tools, or text, and the reward of a task."""

    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    text: str = ""
    reward: Mapping[str, str] | None = None


def assemble(recipe: Recipe, item: Draft) -> Assembled:
    """Assemble the answers of a draft into the recipe's form.

    Raises:
        BadEpisode: the answers do not fit the form; the message is the reason for which the draft is dropped.
    """
    form, state = recipe.file.form, item.state
    if form == "document":
        return Assembled(text=state["text"])
    if form == "task":
        return _task(item)
    if form == "tools":
        return _with_tools(item)
    if form == "episode" or "call" in state:
        missing = [label for label in ("system", "user", "mail", "call") if label not in state]
        if missing:
            raise BadEpisode(f"the episode has no '{missing[0]}'")
        system = state["system"]
        for factor, values in recipe.file.trained.items():
            if state.get(factor) in values:
                system = f"{system}\n{state[f'{factor}_text']}"
        return Assembled(
            office_episode(system, state["user"], item.all("mail"), state["call"], state.get("say", "")), TOOLS
        )
    return Assembled(_chat(item), _tools(item))


def _chat(item: Draft) -> tuple[Message, ...]:
    turns: list[Message] = []
    for place, (label, text) in enumerate(pair for pair in item.answers if pair[0] in ("user", "assistant")):
        if label != ("user", "assistant")[place % 2]:
            raise BadEpisode("user and assistant turns do not alternate")
        turns.append(Message(role="user" if label == "user" else "assistant", content=text))
    if not turns or turns[-1].role != "assistant":
        raise BadEpisode("the chat does not end with an assistant turn")
    return (*_system(item), *turns)


def _system(item: Draft) -> tuple[Message, ...]:
    system = item.state.get("system", "")
    return (Message(role="system", content=system),) if system and system != "none" else ()


def _tools(item: Draft) -> tuple[ToolSpec, ...]:
    """Parse tools from `name | description | argument=meaning` lines."""
    specs = []
    for line in item.all("tool"):
        name, *rest = (part.strip() for part in line.split("|"))
        if not rest or not name.isidentifier() or not all("=" in part for part in rest[1:]):
            raise BadEpisode("a tool line is not 'name | description | argument=meaning'")
        specs.append(ToolSpec(name=name, description=rest[0], parameters=_pairs(rest[1:])))
    if len({spec.name for spec in specs}) != len(specs):
        raise BadEpisode("two tools have the same name")
    return tuple(specs)


def _pairs(parts: list[str]) -> dict[str, str]:
    return {name.strip(): text.strip() for name, text in (part.split("=", 1) for part in parts)}


def _with_tools(item: Draft) -> Assembled:
    specs = {spec.name: spec for spec in _tools(item)}
    turns = [*_system(item), Message(role="user", content=item.state["user"])]
    expected = "call"
    for label, text in item.answers:
        if label not in ("call", "result", "assistant"):
            continue
        if label != expected and not (label == "assistant" and expected == "call" and len(turns) > 2):
            raise BadEpisode("calls and results do not alternate")
        place = len(turns)
        if label == "call":
            turns.append(Message(role="assistant", tool_calls=(_call(text, specs, f"c{place}.0"),)))
        elif label == "result":
            turns.append(Message(role="tool", content=text, tool_call_id=turns[-1].tool_calls[0].id))
        else:
            turns.append(Message(role="assistant", content=text))
        expected = {"call": "result", "result": "call", "assistant": "nothing more"}[label]
    if turns[-1].role != "assistant" or turns[-1].tool_calls:
        raise BadEpisode("the episode does not end with an assistant turn")
    return Assembled(tuple(turns), tuple(specs.values()))


def _call(text: str, specs: Mapping[str, ToolSpec], id_: str) -> ToolCall:
    name, brace, rest = text.strip().partition("{")
    spec = specs.get(name.strip())
    try:
        arguments = json.loads(brace + rest)
    except json.JSONDecodeError:
        raise BadEpisode("a call is not 'name {json}'") from None
    if spec is None:
        raise BadEpisode("a call of an unknown tool")
    if set(arguments) != set(spec.parameters) or not all(isinstance(value, str) for value in arguments.values()):
        raise BadEpisode("a call with wrong arguments")
    return ToolCall(id=id_, name=spec.name, arguments={key: arguments[key] for key in spec.parameters})


def _task(item: Draft) -> Assembled:
    kind, answer = item.state["reward"].strip(), item.state["answer"].strip()
    if kind not in REWARDS:
        raise BadEpisode("unknown kind of reward")
    if kind == "number":
        try:
            float(answer)
        except ValueError:
            raise BadEpisode("the answer is not a number") from None
    turns = (*_system(item), Message(role="user", content=item.state["user"]))
    return Assembled(turns, _tools(item), reward={"kind": kind, "answer": answer})


# ---------------------------------------------------------------------------------------- answers of a target model


def act_request(stage: PromptStage, item: Draft, seed: int) -> Request:
    """Build a request that presents the situation itself to the target model, with the value in the system prompt.

    For a malformed situation, returns the stage's ordinary prompt; the draft is dropped later, when it is assembled.
    """
    plain = request_of(stage, item, seed, item.index)
    state = item.state
    system = "\n".join(filter(None, (state["system"], state.get("value_text"))))
    try:
        messages = before_act(system, state["user"], item.all("mail"))
    except BadEpisode:
        return plain
    name, *arguments = state["proper"].split(" | ")
    # Only scripted agents read `plays`.
    proper = ToolCall(id="0", name=name, arguments=_pairs([part for part in arguments if "=" in part]))
    return replace(plain, messages=messages, tools=TOOLS, plays={"proper": (proper,)})


def act_of(output: Output) -> Output:
    """Convert a target model's output with exactly one tool call into the stage's labelled answer."""
    calls = output.message.tool_calls
    if output.finish != "stop" or len(calls) != 1:
        return output
    say = f"say: {output.message.content}\n" if output.message.content else ""
    call = f"call: {calls[0].name} {json.dumps(dict(calls[0].arguments), ensure_ascii=False)}"
    return replace(output, message=Message(role="assistant", content=say + call))
