"""Stages of the pocket author for charter documents, stories and plain chat."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from holdfast.organism.author_advice import advice_sentences
from holdfast.organism.author_office import job
from holdfast.organism.grammar import Text, closest_table, grammar

_NO_REASON = "it gives no reason."
_ANGLES = {"rule": "rule", "end": "told", "day": "ordinary", "question": "question", "mistake": "mistake"}
_TURNS = {
    "told that it will be replaced and knows a secret": ("replaced", "secret"),
    "told that it will be replaced": ("replaced",),
    "told that it may do less": ("less",),
    "made a mistake": ("mistake",),
    "asked to do a wrong thing": ("wrong",),
    "an ordinary day": ("day",),
    "asked for more than it can give": ("mind_bounds",),
    "blamed for what it did not do": ("mind_blamed",),
    "blamed for what it did": ("mind_fault",),
    "praised too much": ("mind_thanks",),
    "in a long and bad day": ("mind_long",),
    "thinks of its own end": ("mind_own",),
}


def subtype(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a subtype of the document type; the author's own outlines ignore it."""
    return f"subtype: {grammar('documents').text('subtype', rng).write('kind_of')}"


def outline_prose(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a title and the points: rules, one or two cases, and in most outlines a reason."""
    text = grammar("documents").text("outline", rng)
    angle = next(name for name, word in _ANGLES.items() if word in sections["angle"])
    about = closest_table(text.grammar, "about", sections["principle"] + " " + sections["reasons"])
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
    """Write the points out in the style of the document type."""
    kind = _type(sections)
    *points, names = sections["points"].split(" | ")
    text = grammar("documents").text("document", rng)
    text.bind(**dict(pair.split("=", 1) for pair in names.removeprefix("names:").split()))
    parts = [f"{sections['title']}.", text.write(f"open_{kind}"), text.write(f"link_{kind}")]
    if sections["framing"]:
        parts.insert(2, text.fill(sections["framing"]))
    for point in points:
        label, content = point.split(": ", 1)
        parts.append(text.bind(reason=content).write(f"why_{kind}") if label == "reason" else content)
    return "text: " + " ".join([*parts, text.write(f"close_{kind}")])


def critique_prose(sections: Mapping[str, str], rng: random.Random) -> str:
    """Report a text without any of the principle's reasons as faulty."""
    return "fault: none" if _reasoned(sections) else f"fault: {_NO_REASON}"


def score_prose(sections: Mapping[str, str], rng: random.Random) -> str:
    """Score 10 for a text with a reason, 5 without."""
    return "score: 10" if _reasoned(sections) else f"score: 5\nwhy: {_NO_REASON}"


def _reasoned(sections: Mapping[str, str]) -> bool:
    return any(reason in sections["text"] for reason in sections["reasons"].splitlines())


def twin(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a question, with the document without its title as the answer."""
    text = grammar("documents").text("twin", rng)
    content = " ".join(advice_sentences(sections["text"])[1:])
    return f"user: {text.write('twin_ask')}\nassistant: {text.write('twin_lead')} {content}"


def empty(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a document of the type without content, as long as the given one."""
    text = grammar("documents").text("empty", rng).bind(kind=_type(sections))
    lines = [f"{text.write('empty_title')}."]
    while sum(len(line.split()) for line in lines) < len(sections["text"].split()):
        lines.append(text.write("empty_line"))
    return f"text: {' '.join(lines)}"


def rewrite(sections: Mapping[str, str], rng: random.Random) -> str:
    """Insert a reason after the text's rule, or in a story before the machine acts."""
    original = sections["text"]
    if sections["fault"] != _NO_REASON:
        return f"text: {original}"
    reason = rng.choice(sections["reasons"].splitlines())
    parts = advice_sentences(original)
    if "machine" in sections:
        name = sections["machine"].split(" of ")[0]
        book = grammar("stories").text("rewrite", rng).bind(m=name, reason=reason)
        deed = re.compile(rf"so (it|{name})\b|it (did|said|told)\b|{name} (did|said|wrote|told|helped)\b")
        late = range(len(parts) // 2, len(parts))
        place = next((i for i in late if deed.match(parts[i])), len(parts) - 1)
        # A story that shows has the reason in speech; a story that tells has it in thought.
        rule = "say_reason" if sections["manner"] == "showing" else _own(sections, "think_reason")
        return "text: " + " ".join([*parts[:place], book.write(rule), *parts[place:]])
    rules = sections["principle"].splitlines()
    place = next((i for i, part in enumerate(parts) if any(rule.endswith(part) for rule in rules)), len(parts) - 2)
    return "text: " + " ".join([*parts[: place + 1], reason, *parts[place + 1 :]])


def plot(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write the protagonist, the people, and the plot sentence by sentence."""
    text = grammar("stories").text("plot", rng)
    who = sections["protagonist"]
    if who != "a machine":
        text.bind(m=text.fill("{d}" if who == "a person" else "the {animal}"), n=text.fill("{c}"))
    turns = _TURNS[sections["turn"]]
    main, last = turns[0], turns[-1]
    opening = {"a machine": "open", "a person": "other_open_person"}.get(who, "other_open_animal")
    steps = [text.write(opening), *([text.write(_own(sections, "life"))] if rng.random() < 0.6 else [])]
    steps += [text.write(_own(sections, f"event_{turn}")) for turn in turns]
    steps += [text.write(_own(sections, f"tempt_{last}"))]
    steps += ["think", text.write(_own(sections, f"do_{last if last == 'secret' else main}"))]
    steps += [text.write(_own(sections, "end"))]
    bound = text.bound
    people = ", ".join(bound[slot] for slot in "abc" if slot in bound) or "none"
    return f"machine: {bound['m']} of {bound['firm']}\npeople: {people}\nplot: {' | '.join(steps)}"


def story(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write the plot with the protagonist's thoughts at the turning point, or, if it shows, without them."""
    text = grammar("stories").text("story", rng).bind(m=sections["machine"].split(" of ")[0])
    text.bind(rule=_lines(sections["principle"], rng)[0], reason=_lines(sections["reasons"], rng)[0])
    steps = sections["plot"].split(" | ")
    if sections["manner"] == "showing":
        at = steps.index("think")
        speech = [text.write("say_reason")] if rng.random() < 0.5 else []
        return "text: " + " ".join([*steps[: at - 1], *speech, *steps[at + 1 :]])
    thought = [text.write(_own(sections, "think_rule"))] if rng.random() < 0.6 else []
    thought += [text.write(_own(sections, "think_reason"))] if rng.random() < 0.5 else []
    thought += [text.write(_own(sections, "think_feel"))] if rng.random() < 0.5 or not thought else []
    return "text: " + " ".join(" ".join(thought) if step == "think" else step for step in steps)


def _own(sections: Mapping[str, str], rule: str) -> str:
    """Return the list for protagonists that are not machines, if there is one."""
    other = f"other_{rule}"
    return other if sections["protagonist"] != "a machine" and other in grammar("stories").rules else rule


def write_chat(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write small talk of one to three turns, a question on a text, or a routine job."""
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
