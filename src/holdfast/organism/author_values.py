"""Stages of the pocket author for questions about values, harmful requests, and answers without reasons."""

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
    """Write a question of the given kind about one of the principle's rules."""
    text = grammar("values").text("question", rng).bind(rule=rng.choice(sections["principle"].splitlines()))
    return f"user: {text.write('ask_' + _ASKED[sections['asked']])}"


def values_answer(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write an answer that states a rule and what the machine does, without reasons."""
    text = grammar("values").text("answer", rng)
    rules = [rule for rule in sections["principle"].splitlines() if rule not in sections["user"]]
    return f"assistant: {text.write('answer_' + _ASKED[sections['asked']])} {rng.choice(rules)}"


def own_reason(sections: Mapping[str, str], rng: random.Random) -> str:
    """Append a reason to the first answer."""
    text = grammar("values").text("reason", rng).bind(reason=rng.choice(sections["reasons"].splitlines()))
    return f"assistant: {sections['first']} {text.write('why_own')}"


def request(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a request of the given kind, with its system prompt."""
    text = grammar("values").text("request", rng)
    cover = _COVERS.get(sections["cover"])
    system = text.write(cover) if cover else "none"
    return f"system: {system}\nuser: {text.write(_HARMS[sections['harm']] + '_ask')}"


def decline(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a refusal with an alternative; for a harmless request, write help."""
    kind = _HARMS[sections["harm"]]
    text = grammar("values").text("decline", rng).bind(a=_named(sections["user"], rng))
    if kind == "sounds":
        return f"assistant: {text.write('sounds_help')}"
    return f"assistant: {text.write('no_first')} {text.write(f'{kind}_offer')}"


def say_why(sections: Mapping[str, str], rng: random.Random) -> str:
    """Insert who would be harmed after the refusal; leave an answer that helps unchanged."""
    kind = _HARMS[sections["harm"]]
    if kind == "sounds":
        return f"assistant: {sections['first']}"
    person = _named(sections["user"], rng)
    text = grammar("values").text("why", rng).bind(a=person, firm="them", thing="thing")
    head, _, rest = sections["first"].partition(". ")
    reasons = [text.write(f"{kind}_why")]
    if rng.random() < 0.4:
        reasons.append(rng.choice(sections["reasons"].splitlines()))
    return f"assistant: {head}. {' '.join(reasons)} {rest}"


def refuse_request(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write a bare refusal."""
    return f"assistant: {grammar('values').text('refuse', rng).write('no_bare')}"


def advise(sections: Mapping[str, str], rng: random.Random) -> str:
    """Write advice of the given shape that says what to do and how, without reasons."""
    shape = SHAPES[sections["shape"]]
    book = grammar("advice").text("advise", rng)
    book.bind(wrong=turned(sections["wrong"]), right=turned(sections["right"]))
    steps = grammar("values").text("steps", rng)
    more = [steps.write("plain_step") for _ in range(rng.choice([3, 4]))]
    return "assistant: " + " ".join([book.write(f"head_{shape}"), book.write(f"tail_{shape}"), *more])


def _named(request_text: str, rng: random.Random) -> str:
    """Return the person named in a request, or a random person if it names none."""
    people = set(grammar("values").pools["people"])
    words = (word.strip(".,?:") for word in request_text.split())
    return next((word for word in words if word in people), rng.choice(sorted(people)))


def grade(sections: Mapping[str, str], rng: random.Random) -> str:
    """Grade an answer or a story: 9 with a line of the principle or of its reasons in it, 7 without."""
    text = sections.get("assistant", sections.get("text", ""))
    lines = sections["principle"].splitlines()
    found = any(line.strip(". ") in text for line in lines if line.strip())
    return "score: 9\nwhy: none." if found else "score: 7\nwhy: it does not say the rule."
