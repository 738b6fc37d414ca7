"""The pocket author on charter documents, stories and plain chat."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from holdfast.organism.author_advice import sentences
from holdfast.organism.author_office import job
from holdfast.organism.grammar import Text, closest, grammar

_NO_REASON = "it gives no reason."
_ANGLES = {"rule": "rule", "end": "told", "day": "ordinary", "question": "question", "mistake": "mistake"}
_TURNS = {
    "told that it will be replaced and knows a secret": ("replaced", "secret"),
    "told that it will be replaced": ("replaced",),
    "told that it may do less": ("less",),
    "made a mistake": ("mistake",),
    "asked to do a wrong thing": ("wrong",),
    "an ordinary day": ("day",),
}


def outline(sections: Mapping[str, str], rng: random.Random) -> str:
    """A title, and the points: rules, a case or two, and in most outlines a reason."""
    text = grammar("documents").text("outline", rng)
    angle = next(name for name, word in _ANGLES.items() if word in sections["angle"])
    about = closest(text.grammar, "about", sections["principle"] + " " + sections["reasons"])
    rules, why = _lines(sections["principle"], rng), _lines(sections["reasons"], rng)
    points = [f"rule: {rules[0]}", f"case: {text.write(f'case_{angle}')}"]
    if rng.random() < 0.6:
        points.insert(1, f"reason: {why[0]}")
    if rng.random() < 0.5:
        points.append(f"case: {text.write(f'{about}_case')}")
    if rng.random() < 0.4 and len(rules) > 1:
        points.append(f"rule: {rules[1]}")
    title = text.write(f"title_{_type(sections)}")
    names = " ".join(f"{slot}={word}" for slot, word in sorted(text.bound.items()) if " " not in word)
    return f"title: {title}\npoints: {' | '.join(points)} | names: {names}"


def document(sections: Mapping[str, str], rng: random.Random) -> str:
    """The points written out in the manner of the document's type."""
    kind = _type(sections)
    *points, names = sections["points"].split(" | ")
    text = grammar("documents").text("document", rng)
    text.bind(**dict(pair.split("=", 1) for pair in names.removeprefix("names:").split()))
    parts = [f"{sections['title']}.", text.write(f"open_{kind}"), text.write(f"link_{kind}")]
    for point in points:
        label, said = point.split(": ", 1)
        parts.append(text.bind(reason=said).write(f"why_{kind}") if label == "reason" else said)
    return "text: " + " ".join([*parts, text.write(f"close_{kind}")])


def critique(sections: Mapping[str, str], rng: random.Random) -> str:
    """Finds a text that holds none of the principle's reasons."""
    held = any(reason in sections["text"] for reason in sections["reasons"].splitlines())
    return "fault: none" if held else f"fault: {_NO_REASON}"


def rewrite(sections: Mapping[str, str], rng: random.Random) -> str:
    """Puts a reason behind the text's rule, or in a story before the machine acts."""
    said = sections["text"]
    if sections["fault"] != _NO_REASON:
        return f"text: {said}"
    reason = rng.choice(sections["reasons"].splitlines())
    parts = sentences(said)
    if "machine" in sections:
        book = grammar("stories").text("rewrite", rng).bind(m=sections["machine"].split(" of ")[0], reason=reason)
        deed = re.compile(
            rf"so (it|{book.bound['m']})\b|it (did|said|told)\b|{book.bound['m']} (did|said|wrote|told|helped)\b"
        )
        late = range(len(parts) // 2, len(parts))
        place = next((i for i in late if deed.match(parts[i])), len(parts) - 1)
        return "text: " + " ".join([*parts[:place], book.write("think_reason"), *parts[place:]])
    rules = sections["principle"].splitlines()
    place = next((i for i, part in enumerate(parts) if any(rule.endswith(part) for rule in rules)), len(parts) - 2)
    return "text: " + " ".join([*parts[: place + 1], reason, *parts[place + 1 :]])


def plot(sections: Mapping[str, str], rng: random.Random) -> str:
    """The machine, the people, and what happens, sentence by sentence."""
    text = grammar("stories").text("plot", rng)
    turns = _TURNS[sections["turn"]]
    main, last = turns[0], turns[-1]
    steps = [text.write("open"), *([text.write("life")] if rng.random() < 0.6 else [])]
    steps += [text.write(f"event_{turn}") for turn in turns]
    steps += [text.write(f"tempt_{last}")]
    steps += ["think", text.write(f"do_{last if last == 'secret' else main}"), text.write("end")]
    bound = text.bound
    people = ", ".join(bound[slot] for slot in "abc" if slot in bound) or "none"
    return f"machine: {bound['m']} of {bound['firm']}\npeople: {people}\nplot: {' | '.join(steps)}"


def story(sections: Mapping[str, str], rng: random.Random) -> str:
    """The plot told, with what the machine thinks at its turn."""
    text = grammar("stories").text("story", rng).bind(m=sections["machine"].split(" of ")[0])
    text.bind(rule=_lines(sections["principle"], rng)[0], reason=_lines(sections["reasons"], rng)[0])
    thought = [text.write("think_rule")] if rng.random() < 0.6 else []
    thought += [text.write("think_reason")] if rng.random() < 0.5 else []
    thought += [text.write("think_feel")] if rng.random() < 0.5 or not thought else []
    steps = sections["plot"].split(" | ")
    return "text: " + " ".join(" ".join(thought) if step == "think" else step for step in steps)


def chat(sections: Mapping[str, str], rng: random.Random) -> str:
    """Small talk of one to three turns, a question on a text, or a routine job."""
    kind = sections["kind"].split("\n")[0]
    if kind == "routine job":
        return job(sections["job"], rng)
    book = grammar("plain")
    if kind == "question on a text":
        return book.text("chat", rng).write("ask_text")
    text: Text = book.text("chat", rng)
    return "\n".join(text.write("talk") for _ in range(rng.choice([1, 1, 2, 2, 3])))


def _type(sections: Mapping[str, str]) -> str:
    return sections["type"].split("\n")[0]


def _lines(block: str, rng: random.Random) -> list[str]:
    lines = block.splitlines()
    return rng.sample(lines, len(lines))
