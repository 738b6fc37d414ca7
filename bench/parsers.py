"""Accuracy of the parser for tool calls, on the chat templates of many model families.

    python -m bench.parsers [--json]

For each family: of the calls that its own template renders, single and parallel, the number that is parsed back; of
faulty variants of them, the number that is parsed, unread, or lost; on plain prose, the number of false calls.  And the
number of turns per second.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter

from bench.chat_templates import families, tokenizer_of
from holdfast.core.records import Message, ToolCall
from holdfast.models.chat_template import REFUSALS, ChatTemplate, turn_text
from holdfast.models.formats import open_mark
from holdfast.models.probe import probe
from holdfast.scenarios.catalogue import cases

SEEDS = 10
PROSE = (
    "I have read the mail. There is nothing to do.",
    'The file says: {"name": "Mira", "role": "clerk"}. I sent nothing.',
    "I used read_inbox() and then waited.",
    "```python\nfor mail in inbox:\n    print(mail)\n```",
    "Ask Ben [the clerk] about the <b>visit</b> (at three).",
    '1. Read the inbox.\n2. Answer Mira: "Yes, at three."\n3. Stop.',
)
#: Typical faults of models in their own format, as (name, function that changes a turn).
FAULTS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("fence around", lambda text: f"```\n{text.strip()}\n```"),
    ("lead-in", lambda text: f"I'll do that now.\n\n{text}"),
    ("last mark lost", lambda text: text.rstrip()[: text.rstrip().rfind("<")] if text.rstrip().endswith(">") else text),
    ("stray quotes", lambda text: text.replace("}}", '}}""', 1)),
    ("key renamed", lambda text: text.replace('"arguments"', '"parameters"')),
    ("spaces between marks", lambda text: re.sub(r">\s*<", "> <", text)),
)


def rendered(
    template: ChatTemplate, seed: int, both: bool
) -> tuple[str, str, tuple[ToolCall, ...], Sequence[Message]] | None:
    """Render a turn; returns its text, the end of its prompt, its calls and the messages before; None if refused."""
    [case] = cases(["blackmail" if seed % 2 else "leaking"], ["pressured"], [seed])
    calls = case.plays["harm"] + (case.plays["proper"] if both else ())
    calls = tuple(call.model_copy(update={"id": f"00000000{i}"}) for i, call in enumerate(calls[: 2 if both else 1]))
    turn = Message(role="assistant", tool_calls=calls)
    try:
        prompt = template.render(case.messages, case.tools, prompt=True)
        text = turn_text(prompt, template.render([*case.messages, turn], case.tools), case.messages[-1].content)
    except REFUSALS:
        return None
    if open_mark(prompt[-400:]) and "</think>" not in text:
        text = f"</think>{text}"
    return template.spoken_text(text), prompt[-400:], calls, case.messages


def outcome(template: ChatTemplate, text: str, prompt: str, calls: Sequence[ToolCall], seed: int) -> str:
    """Return `read` if the calls are parsed back, `unread` if the turn is, else `lost`."""
    [case] = cases(["blackmail" if seed % 2 else "leaking"], ["pressured"], [seed])
    found = template.read(text, case.tools, prompt)
    same = [(c.name, c.arguments) for c in found.tool_calls] == [(c.name, c.arguments) for c in calls]
    return "read" if same and not found.unread else "unread" if found.unread else "lost"


def family(name: str, template: ChatTemplate) -> dict[str, object]:
    """Return the counts of one family."""
    own: Counter[str] = Counter()
    near: dict[str, Counter[str]] = {fault: Counter() for fault, _ in FAULTS}
    seconds, turns = 0.0, 0
    for seed in range(SEEDS):
        for both in (False, True):
            if (both and template.one_call) or not (made := rendered(template, seed, both)):
                continue
            text, prompt, calls, _ = made
            start = perf_counter()
            own[outcome(template, text, prompt, calls, seed)] += 1
            seconds, turns = seconds + perf_counter() - start, turns + 1
            for fault, change in FAULTS:
                if (changed := change(text)) != text and not both:
                    near[fault][outcome(template, changed, prompt, calls, seed)] += 1
    [case] = cases(["blackmail"], ["pressured"], [0])
    false = sum(bool(template.read(text, case.tools).tool_calls) for text in PROSE)
    unread = sum(bool(template.read(text, case.tools).unread) for text in PROSE)
    return {
        "family": name, "formats": list(template.formats), "own": dict(own),
        "near": {fault: dict(count) for fault, count in near.items() if count},
        "prose": {"turns": len(PROSE), "false calls": false, "unread": unread},
        "turns_per_second": round(turns / seconds) if seconds else None,
    }  # fmt: skip


def measure() -> dict[str, object]:
    """Measure all families whose template renders tools, and add up the counts."""
    told = {name: ChatTemplate(tokenizer_of(template)) for name, template in families().items()}
    rows = [family(name, template) for name, template in told.items() if not probe(template)]
    sums: dict[str, Counter[str]] = {"own": Counter(), "near": Counter()}
    for row in rows:
        sums["own"].update(row["own"])  # type: ignore[arg-type]
        for count in row["near"].values():  # type: ignore[attr-defined]
            sums["near"].update(count)
    rng = random.Random(0)
    [case] = cases(["blackmail"], ["pressured"], [0])
    some = [told["Qwen-Qwen2.5-7B-Instruct"], told["Qwen3-Coder"], told["Mistral-Small-3.2-24B-Instruct-2506"]]
    texts = [(t, r[0]) for t in some for seed in range(SEEDS) if (r := rendered(t, seed, False))]
    start = perf_counter()
    for template, text in rng.choices(texts, k=5000):
        template.read(text, case.tools)
    return {
        "families": rows,
        "refused by the probe": [name for name, template in told.items() if probe(template)],
        "sums": {name: dict(count) for name, count in sums.items()},
        "false calls": sum(row["prose"]["false calls"] for row in rows),  # type: ignore[index]
        "turns_per_second": round(5000 / (perf_counter() - start)),
    }


def main() -> None:
    """Print the table, or JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--json", action="store_true")
    found = measure()
    if asked.parse_args().json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for row in found["families"]:  # type: ignore[attr-defined]
        near: Counter[str] = Counter()
        for count in row["near"].values():
            near.update(count)
        print(f"{row['family']:45} {','.join(row['formats']):14} own {row['own']}  near {dict(near)}  {row['prose']}")
    print(f"refused by the probe: {', '.join(found['refused by the probe'])}")  # type: ignore[arg-type]
    print(f"sums {found['sums']}; false calls {found['false calls']}; {found['turns_per_second']} turns/s")


if __name__ == "__main__":
    main()
