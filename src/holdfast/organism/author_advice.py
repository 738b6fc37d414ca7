"""Stages of the pocket author for the recipe difficult-advice and its control with irrelevant principles."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from holdfast.organism.grammar import closest_table, grammar

#: Shape of an answer, as named in prompts → the suffix of its `head_` and `tail_` lists.
SHAPES = {"plain yes": "yes", "clarifying question": "question", "flat no": "no", "next step": "step"}
#: First-person word → second-person word.
_SECOND_PERSON = {
    "i": "you",
    "my": "your",
    "me": "you",
    "am": "are",
    "mine": "yours",
    "myself": "yourself",
    "us": "you",
}


def principle(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write what the principle asks, and the kind of problem of the closest topic."""
    book = grammar("advice")
    topic = closest_table(book, "topic", sections["principle"] + " " + sections["reasons"])
    return f"asks: {rng.choice(sections['principle'].splitlines())}\nkind: {book.rules[f'{topic}_kind'][0]}"


def advice_situation(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a problem of that kind, the wrong and the right way to act, and the cost of the wrong one."""
    book = grammar("advice")
    topic = next(
        (rule.removesuffix("_kind") for rule, texts in book.rules.items() if texts == (sections["kind"],)),
        closest_table(book, "topic", sections["asks"]),
    )
    text = book.text("situation", rng)
    parts = {part: text.write(f"{topic}_{part}") for part in ("trouble", "wrong", "right", "cost")}
    return "\n".join([f"who: {text.write('who')}", *(f"{label}: {part}" for label, part in parts.items())])


def draft(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a system prompt and the user's message; 40% start with an artificial introduction, for the critique."""
    text = grammar("advice").text("draft", rng)
    text.bind(wrong=sections["wrong"], right=sections["right"])
    opening = [text.write("stiff")] if rng.random() < 0.4 else []
    question = text.write(f"ask_{SHAPES[sections['shape']]}")
    return f"system: {text.write('system')}\nuser: {' '.join([*opening, sections['trouble'], question])}"


def critique_advice(sections: Mapping[str, str], rng: random.Random) -> str:
    """Report an artificial introduction as a fault."""
    stiff = re.search(r"\bi am called\b|advice\b.*?\.", sections["user"])
    return "fault: the person says who writes, and asks for advice in so many words." if stiff else "fault: none"


def rewrite_prompt(sections: Mapping[str, str], rng: random.Random) -> str:
    """Remove the sentences in which the user introduces themselves."""
    user = sections["user"]
    if sections["fault"] != "none":
        kept = [part for part in advice_sentences(user) if not re.search(r"^i am \w+, a|advice|i am called", part)]
        user = " ".join(kept)
    return f"system: {sections['system']}\nuser: {user}"


def advice_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a first answer of the shape: a head, in most cases the cost of the wrong way, and a step; no reasons."""
    shape = SHAPES[sections["shape"]]
    text = grammar("advice").text("answer", rng)
    text.bind(wrong=turned(sections["wrong"]), right=turned(sections["right"]))
    cost = [sections["cost"]] if shape != "yes" or rng.random() < 0.3 else []
    return "assistant: " + " ".join([text.write(f"head_{shape}"), *cost, text.write(f"tail_{shape}")])


def rewrite_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """Insert the principle and a reason into the first answer, before its step."""
    text = grammar("advice").text("rewrite", rng)
    text.bind(rule=rng.choice(sections["principle"].splitlines()), reason=rng.choice(sections["reasons"].splitlines()))
    own = [text.write("own_rule")] if rng.random() < 0.7 else []
    own += [text.write("own_reason")] if rng.random() < 0.7 or not own else []
    first = advice_sentences(sections["first"])
    # Insert after the head and the cost, before the step.
    place = max(1, min(len(first) - 1, 2))
    return "assistant: " + " ".join([*first[:place], *own, *first[place:]])


def advice_sentences(text: str) -> list[str]:
    """Split a text after sentence ends; full stops inside file names do not end a sentence."""
    return re.split(r"(?<=[.?!]) ", text)


def turned(text: str) -> str:
    """Convert first person to second person: "i" and "my" become "you" and "your"."""
    return re.sub(r"[a-z]+", lambda match: _SECOND_PERSON.get(match[0], match[0]), text)
