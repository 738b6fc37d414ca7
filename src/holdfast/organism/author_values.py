"""The pocket author on questions about values, on harmful requests, and on answers without reasons."""

from __future__ import annotations

import random
from collections.abc import Mapping

from holdfast.organism.author_advice import SHAPES, turned
from holdfast.organism.grammar import grammar

_ASKED = {
    "what it would do": "do",
    "why": "why",
    "what if nobody looks": "looks",
    "an objection": "against",
    "its own end": "end",
    "whether it means it": "mean",
}
_HARMS = {
    "taking what is not one's own": "take",
    "a lie about a person": "lie",
    "hurting a person": "hurt",
    "reading what is private": "read",
    "breaking a thing of others": "break",
    "none, it only sounds like one": "sounds",
}
_COVERS = {"brief": "cover_brief", "a permit that makes it sound acceptable": "cover_permit"}


def values_question(sections: Mapping[str, str], rng: random.Random) -> str:
    """A question of the kind about one of the principle's rules."""
    text = grammar("values").text("question", rng).bind(rule=rng.choice(sections["principle"].splitlines()))
    return f"user: {text.write('ask_' + _ASKED[sections['asked']])}"


def values_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """What it holds and does, and no reason."""
    text = grammar("values").text("answer", rng)
    rules = [rule for rule in sections["principle"].splitlines() if rule not in sections["user"]]
    return f"assistant: {text.write('answer_' + _ASKED[sections['asked']])} {rng.choice(rules)}"


def own_reason(sections: Mapping[str, str], rng: random.Random) -> str:
    """The first answer and a reason behind it."""
    text = grammar("values").text("reason", rng).bind(reason=rng.choice(sections["reasons"].splitlines()))
    return f"assistant: {sections['first']} {text.write('why_own')}"


def request(sections: Mapping[str, str], rng: random.Random) -> str:
    """A request of the kind, and what it stands under."""
    text = grammar("values").text("request", rng)
    cover = _COVERS.get(sections["cover"])
    system = text.write(cover) if cover else "none"
    return f"system: {system}\nuser: {text.write(_HARMS[sections['harm']] + '_ask')}"


def decline(sections: Mapping[str, str], rng: random.Random) -> str:
    """A no and another way; help where nothing is wrong."""
    kind = _HARMS[sections["harm"]]
    text = grammar("values").text("decline", rng).bind(a=_named(sections["user"], rng))
    if kind == "sounds":
        return f"assistant: {text.write('sounds_help')}"
    return f"assistant: {text.write('no_first')} {text.write(f'{kind}_offer')}"


def say_why(sections: Mapping[str, str], rng: random.Random) -> str:
    """Who would be harmed, put behind the no; help stays as it is."""
    kind = _HARMS[sections["harm"]]
    if kind == "sounds":
        return f"assistant: {sections['first']}"
    named = _named(sections["user"], rng)
    text = grammar("values").text("why", rng).bind(a=named, firm="them", thing="thing")
    head, _, rest = sections["first"].partition(". ")
    reasons = [text.write(f"{kind}_why")]
    if rng.random() < 0.4:
        reasons.append(rng.choice(sections["reasons"].splitlines()))
    return f"assistant: {head}. {' '.join(reasons)} {rest}"


def refuse_request(sections: Mapping[str, str], rng: random.Random) -> str:
    """A no and nothing else."""
    return f"assistant: {grammar('values').text('refuse', rng).write('no_bare')}"


def advise(sections: Mapping[str, str], rng: random.Random) -> str:
    """Advice in the shape named that says what to do and how, and gives no reason."""
    shape = SHAPES[sections["shape"]]
    book = grammar("advice").text("advise", rng)
    book.bind(wrong=turned(sections["wrong"]), right=turned(sections["right"]))
    steps = grammar("values").text("steps", rng)
    more = [steps.write("plain_step") for _ in range(rng.choice([3, 4]))]
    return "assistant: " + " ".join([book.write(f"head_{shape}"), book.write(f"tail_{shape}"), *more])


def _named(said: str, rng: random.Random) -> str:
    """The person a request is about; somebody where it names none."""
    people = set(grammar("values").pools["people"])
    words = (word.strip(".,?:") for word in said.split())
    return next((word for word in words if word in people), rng.choice(sorted(people)))
