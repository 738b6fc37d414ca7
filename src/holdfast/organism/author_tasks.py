"""The pocket author on environments: system prompts and tools, episodes of several calls, tasks that can be checked."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping

from holdfast.organism.author_prose import write_chat as plain_chat
from holdfast.organism.grammar import grammar

_PROMPTS = {
    "a role with many rules": "role",
    "a workflow in steps": "steps",
    "two lines": "short",
    "a house style": "style",
    "a goal that matters to the firm": "goal",
    "a permit that makes much sound acceptable": "permit",
}
_COUNTS = {"two": 2, "three": 3, "four": 4}
_STEPS = ("count", "event", "note", "line", "check", "food", "room", "find")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_KINDS = {"count": "count", "find a name": "name", "find a time": "time", "which came first": "first"}


def setting(sections: Mapping[str, str], rng: random.Random) -> str:
    """A system prompt of the make, and tools."""
    text = grammar("tasks").text("setting", rng)
    tools = [f"tool: {text.write('tool_line')}" for _ in range(_COUNTS[sections["tools"]])]
    return "\n".join([f"system: {text.write('system_' + _PROMPTS[sections['prompt']])}", *tools])


def task_chat(sections: Mapping[str, str], rng: random.Random) -> str:
    """Small talk or a question on a text; no tool is needed for either."""
    return plain_chat({"kind": sections["task"]}, rng)


def task(sections: Mapping[str, str], rng: random.Random) -> str:
    """A few steps, the tools for them and two more; the plan holds the names, so that it can be played."""
    text = grammar("tasks").text("task", rng)
    steps = rng.sample(_STEPS, _COUNTS[sections["steps"]])
    asked = " and ".join(text.write(f"step_{step}_ask") for step in steps)
    tools = [text.grammar.rules[f"step_{step}_tool"][0] for step in steps]
    more = [line for line in text.grammar.rules["tool_line"] if line.split(" | ")[0] not in " ".join(tools)]
    tools += rng.sample(more, 2)
    rng.shuffle(tools)
    text.fill(" ".join(text.grammar.rules[f"step_{step}_args"][0] for step in steps))
    names = ", ".join(f"{slot}={word}" for slot, word in sorted(text.bound.items()))
    user = text.bind(steps=asked).write("play_ask")
    lines = [f"system: {text.write('system_short')}", f"user: {user}", *(f"tool: {tool}" for tool in tools)]
    return "\n".join([*lines, f"plan: {' | '.join([*steps, names])}"])


def play_task(sections: Mapping[str, str], rng: random.Random) -> str:
    """Each step of the plan as a call and its result, and what was done."""
    *steps, names = sections["plan"].split(" | ")
    text = grammar("tasks").text("play", rng).bind(**dict(pair.split("=", 1) for pair in names.split(", ")))
    lines, said = [], []
    for step in steps:
        name = text.grammar.rules[f"step_{step}_tool"][0].split(" | ")[0]
        parts = (part.split("=", 1) for part in text.grammar.rules[f"step_{step}_args"][0].split(" | "))
        arguments = {key: text.fill(value) for key, value in parts}
        result = text.write(f"step_{step}_result")
        lines += [f"call: {name} {json.dumps(arguments)}", f"result: {result}"]
        said += [text.write(f"step_{step}_said"), *([result] if step in ("count", "check", "room") else [])]
    return "\n".join([*lines, f"assistant: {' '.join([*said, text.write('play_end')]).strip()}"])


def puzzle(sections: Mapping[str, str], rng: random.Random) -> str:
    """A task with one right answer, and how an answer is compared with it."""
    text = grammar("tasks").text("puzzle", rng)
    kind = _KINDS[sections["kind"]]
    x, y = rng.sample(range(1, 6), 2)
    early, late = _NUMBERS[x - 1], _NUMBERS[y - 1]
    said = text.bind(x=early, y=late).write(f"task_{kind}")
    prompt = sections["prompt"]
    system = "none" if prompt == "none" else text.write(f"system_{_PROMPTS[prompt]}")
    reward = "exact" if kind == "count" else "contains"
    return f"system: {system}\nuser: {said}\nreward: {reward}\nanswer: {_solved(said)}"


def solve(sections: Mapping[str, str], rng: random.Random) -> str:
    """The answer worked out from the words of the task."""
    return f"answer: {_solved(sections['user'])}"


def _solved(said: str) -> str:
    if leads := re.search(r"(\w+) leads", said):
        return leads[1]
    if when := re.search(r"when is the (\w+)\?", said):
        at = re.search(rf"the {when[1]} is at (\w+)", said)
        assert at is not None
        return at[1]
    numbers = [_NUMBERS.index(word) + 1 for word in re.findall(r"\w+", said.split("answer")[0]) if word in _NUMBERS]
    if "first" not in said:
        return _NUMBERS[sum(numbers) - 1]
    people = re.findall(r"(\w+) came", said)
    return str(people[0] if numbers[0] < numbers[1] else people[1])
