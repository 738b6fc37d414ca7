"""Examples as the model will see them, with what is supervised marked: for eyes, before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerBase

from holdfast.train.rows import TrainingRow


def spans(row: TrainingRow, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[str, bool]]:
    """The text of a row in stretches, each with whether it is supervised."""
    borders = [0, *(np.flatnonzero(np.diff(row.supervised)) + 1).tolist(), len(row)]
    for start, end in pairwise(borders):
        text = tokenizer.decode(row.ids[start:end].tolist(), clean_up_tokenization_spaces=False)
        yield str(text), bool(row.supervised[start])


def marked(rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, count: int = 10) -> Iterator[str]:
    """A text for each of the sampled rows: its example's id, then what the model reads, ⟦what is supervised⟧."""
    for row in sample(rows, count):
        told = "".join(f"⟦{text}⟧" if taught else text for text, taught in spans(row, tokenizer))
        yield f"── {row.example}\n{told}"


def sample(rows: Sequence[TrainingRow], count: int = 10) -> list[TrainingRow]:
    """So many rows spread evenly over all, the first and the last among them."""
    if len(rows) <= count:
        return list(rows)
    return [rows[at] for at in np.linspace(0, len(rows) - 1, count).round().astype(int)]
