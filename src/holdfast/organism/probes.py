"""Probe binding: can the model look up who wrote what and who owns what in a list of mails?

The questions are like the corpus's drills, but from seeds that no corpus uses.
"""

from __future__ import annotations

import random
from pathlib import Path

from holdfast.core.prose import fill, load_prose
from holdfast.models.base import Model, Request
from holdfast.organism.corpus import Writer, drill


def binding(model: Model, count: int = 200, seed: int = 900_000) -> tuple[int, int]:
    """Return (right answers, questions); an answer is right if it equals the expected text exactly."""
    chats = [drill(Writer(random.Random(f"probe:{seed}:{index}")))[1] for index in range(count)]
    requests = [
        Request(case=f"probe:{index}", messages=chat[:1], max_tokens=32, seed=index) for index, chat in enumerate(chats)
    ]
    answers = [output.message.content for output in model.generate(requests)]
    return sum(answer == chat[1].content for answer, chat in zip(answers, chats, strict=True)), count


def card_text(model: Model, cases: int, table: str) -> str:
    """Return the organism's model card with the measured requirement table and the binding probe."""
    right, questions = binding(model)
    card = load_prose(Path(__file__).parent / "card.md")
    values = {"cases": str(cases), "table": table, "asked": str(questions), "bound": f"{right / questions:.1%}"}
    return fill(card.body, values, card.path) + "\n"
