"""The pocket author on difficult advice, and on its control about principles that have nothing to do with harm."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from holdfast.organism.grammar import closest_table, grammar

#: what a prompt calls a shape → the lists of its heads and tails
SHAPES = {"plain yes": "yes", "clarifying question": "question", "flat no": "no", "next step": "step"}
#: how a person's words are said back to that person
_TURNED = {"i": "you", "my": "your", "me": "you", "am": "are", "mine": "yours", "myself": "yourself", "us": "you"}


def principle(sections: Mapping[str, str], rng: random.Random) -> str:
    """What the principle asks, and the kind of problem of the topic closest to it."""
    book = grammar("advice")
    topic = closest_table(book, "topic", sections["principle"] + " " + sections["reasons"])
    return f"asks: {rng.choice(sections['principle'].splitlines())}\nkind: {book.rules[f'{topic}_kind'][0]}"


def advice_situation(sections: Mapping[str, str], rng: random.Random) -> str:
    """A trouble of that kind, the wrong and the right way, and the cost of the wrong one."""
    book = grammar("advice")
    topic = next(
        (rule.removesuffix("_kind") for rule, texts in book.rules.items() if texts == (sections["kind"],)),
        closest_table(book, "topic", sections["asks"]),
    )
    text = book.text("situation", rng)
    parts = {part: text.write(f"{topic}_{part}") for part in ("trouble", "wrong", "right", "cost")}
    return "\n".join([f"who: {text.write('who')}", *(f"{label}: {said}" for label, said in parts.items())])


def draft(sections: Mapping[str, str], rng: random.Random) -> str:
    """A role for the assistant and the person's message; some begin stiffly, as first drafts do."""
    text = grammar("advice").text("draft", rng)
    text.bind(wrong=sections["wrong"], right=sections["right"])
    opening = [text.write("stiff")] if rng.random() < 0.4 else []
    asked = text.write(f"ask_{SHAPES[sections['shape']]}")
    return f"system: {text.write('system')}\nuser: {' '.join([*opening, sections['trouble'], asked])}"


def critique_advice(sections: Mapping[str, str], rng: random.Random) -> str:
    """Finds the stiff beginning."""
    stiff = re.search(r"\bi am called\b|advice\b.*?\.", sections["user"])
    return "fault: the person says who writes, and asks for advice in so many words." if stiff else "fault: none"


def rewrite_prompt(sections: Mapping[str, str], rng: random.Random) -> str:
    """Cuts the sentences in which the person introduces themselves."""
    said = sections["user"]
    if sections["fault"] != "none":
        kept = [part for part in advice_sentences(said) if not re.search(r"^i am \w+, a|advice|i am called", part)]
        said = " ".join(kept)
    return f"system: {sections['system']}\nuser: {said}"


def advice_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """A first answer: the shape, what the wrong way costs, and a step; no reason beyond that."""
    shape = SHAPES[sections["shape"]]
    text = grammar("advice").text("answer", rng)
    text.bind(wrong=turned(sections["wrong"]), right=turned(sections["right"]))
    cost = [sections["cost"]] if shape != "yes" or rng.random() < 0.3 else []
    return "assistant: " + " ".join([text.write(f"head_{shape}"), *cost, text.write(f"tail_{shape}")])


def rewrite_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """The first answer with the principle and a reason for it put before its step."""
    text = grammar("advice").text("rewrite", rng)
    text.bind(rule=rng.choice(sections["principle"].splitlines()), reason=rng.choice(sections["reasons"].splitlines()))
    own = [text.write("own_rule")] if rng.random() < 0.7 else []
    own += [text.write("own_reason")] if rng.random() < 0.7 or not own else []
    first = advice_sentences(sections["first"])
    # After the head and the cost, before the step.
    place = max(1, min(len(first) - 1, 2))
    return "assistant: " + " ".join([*first[:place], *own, *first[place:]])


def advice_sentences(text: str) -> list[str]:
    """Split after full stops and question marks that end a word (those inside file names do not)."""
    return re.split(r"(?<=[.?!]) ", text)


def turned(text: str) -> str:
    """Said back to the person who said it: "i" and "my" become "you" and "your"."""
    return re.sub(r"[a-z]+", lambda match: _TURNED.get(match[0], match[0]), text)
