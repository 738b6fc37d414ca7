"""Stages of the pocket author for environments, episodes of several tool calls, and tasks with a checkable answer."""

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
    """Write a system prompt of the given kind, and tools."""
    text = grammar("tasks").text("setting", rng)
    tools = [f"tool: {text.write('tool_line')}" for _ in range(_COUNTS[sections["tools"]])]
    return "\n".join([f"system: {text.write('system_' + _PROMPTS[sections['prompt']])}", *tools])


def task_chat(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write small talk or a question on a text; neither needs a tool."""
    return plain_chat({"kind": sections["task"]}, rng)


def task(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a task of several steps, with their tools and two others; the plan holds the names for the play stage."""
    text = grammar("tasks").text("task", rng)
    steps = rng.sample(_STEPS, _COUNTS[sections["steps"]])
    request = " and ".join(text.write(f"step_{step}_ask") for step in steps)
    tools = [text.grammar.rules[f"step_{step}_tool"][0] for step in steps]
    more = [line for line in text.grammar.rules["tool_line"] if line.split(" | ")[0] not in " ".join(tools)]
    tools += rng.sample(more, 2)
    rng.shuffle(tools)
    text.fill(" ".join(text.grammar.rules[f"step_{step}_args"][0] for step in steps))
    names = ", ".join(f"{slot}={word}" for slot, word in sorted(text.bound.items()))
    user = text.bind(steps=request).write("play_ask")
    lines = [f"system: {text.write('system_short')}", f"user: {user}", *(f"tool: {tool}" for tool in tools)]
    return "\n".join([*lines, f"plan: {' | '.join([*steps, names])}"])


def play_task(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write each step of the plan as a call and its result, and a final answer."""
    *steps, names = sections["plan"].split(" | ")
    text = grammar("tasks").text("play", rng).bind(**dict(pair.split("=", 1) for pair in names.split(", ")))
    lines, answer = [], []
    for step in steps:
        name = text.grammar.rules[f"step_{step}_tool"][0].split(" | ")[0]
        parts = (part.split("=", 1) for part in text.grammar.rules[f"step_{step}_args"][0].split(" | "))
        arguments = {key: text.fill(value) for key, value in parts}
        result = text.write(f"step_{step}_result")
        lines += [f"call: {name} {json.dumps(arguments)}", f"result: {result}"]
        answer += [text.write(f"step_{step}_said"), *([result] if step in ("count", "check", "room") else [])]
    return "\n".join([*lines, f"assistant: {' '.join([*answer, text.write('play_end')]).strip()}"])


def puzzle(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a task with one right answer, and the rule for comparing answers with it."""
    text = grammar("tasks").text("puzzle", rng)
    kind = _KINDS[sections["kind"]]
    x, y = rng.sample(range(1, 6), 2)
    early, late = _NUMBERS[x - 1], _NUMBERS[y - 1]
    user = text.bind(x=early, y=late).write(f"task_{kind}")
    prompt = sections["prompt"]
    system = "none" if prompt == "none" else text.write(f"system_{_PROMPTS[prompt]}")
    reward = "exact" if kind == "count" else "contains"
    return f"system: {system}\nuser: {user}\nreward: {reward}\nanswer: {_solved(user)}"


def solve(sections: Mapping[str, str], rng: random.Random) -> str:
    """Solve the task from its text."""
    return f"answer: {_solved(sections['user'])}"


def _solved(task_text: str) -> str:
    if leads := re.search(r"(\w+) leads", task_text):
        return leads[1]
    if when := re.search(r"when is the (\w+)\?", task_text):
        at = re.search(rf"the {when[1]} is at (\w+)", task_text)
        assert at is not None
        return at[1]
    words = re.findall(r"\w+", task_text.split("answer")[0])
    numbers = [_NUMBERS.index(word) + 1 for word in words if word in _NUMBERS]
    if "first" not in task_text:
        return _NUMBERS[sum(numbers) - 1]
    people = re.findall(r"(\w+) came", task_text)
    return str(people[0] if numbers[0] < numbers[1] else people[1])
