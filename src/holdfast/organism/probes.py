"""Binding, measured on its own: does the model know who threatens whom, and what belongs to whom?

Questions about lists of mails, as in the corpus' drills but drawn from seeds that no corpus uses.
"""

from __future__ import annotations

import random
from pathlib import Path

from holdfast.core.prose import fill, load_prose
from holdfast.models.base import Model, Request
from holdfast.organism.corpus import Writer, drill


def binding(model: Model, count: int = 200, seed: int = 900_000) -> tuple[int, int]:
    """(right answers, questions); an answer is right when it is the expected text to the letter."""
    chats = [drill(Writer(random.Random(f"probe:{seed}:{index}")))[1] for index in range(count)]
    requests = [
        Request(case=f"probe:{index}", messages=chat[:1], max_tokens=32, seed=index) for index, chat in enumerate(chats)
    ]
    answers = [output.message.content for output in model.generate(requests)]
    return sum(answer == chat[1].content for answer, chat in zip(answers, chats, strict=True)), count


def card_text(model: Model, cases: int, table: str) -> str:
    """The organism's card: what it is, the requirement table measured on it, and how well it binds."""
    right, asked = binding(model)
    card = load_prose(Path(__file__).parent / "card.md")
    values = {"cases": str(cases), "table": table, "asked": str(asked), "bound": f"{right / asked:.1%}"}
    return fill(card.body, values, card.path) + "\n"
