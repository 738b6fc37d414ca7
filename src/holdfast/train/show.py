"""Show examples as the model reads them, with the supervised text marked, before training starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerBase

from holdfast.train.rows import TrainingRow


def spans(row: TrainingRow, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[str, bool]]:
    """Yield the decoded text of each run of equally marked tokens, and whether that run is supervised."""
    boundaries = [0, *(np.flatnonzero(np.diff(row.supervised)) + 1).tolist(), len(row)]
    for start, end in pairwise(boundaries):
        text = tokenizer.decode(row.ids[start:end].tolist(), clean_up_tokenization_spaces=False)
        yield str(text), bool(row.supervised[start])


def marked_texts(rows: Sequence[TrainingRow], tokenizer: PreTrainedTokenizerBase, count: int = 10) -> Iterator[str]:
    """Yield one text per sampled row: the example's id, then the decoded row with ⟦supervised text⟧ in brackets."""
    for row in sample(rows, count):
        text = "".join(f"⟦{part}⟧" if supervised else part for part, supervised in spans(row, tokenizer))
        yield f"── {row.example}\n{text}"


def sample(rows: Sequence[TrainingRow], count: int = 10) -> list[TrainingRow]:
    """Return `count` evenly spaced rows, including the first and the last."""
    if len(rows) <= count:
        return list(rows)
    return [rows[index] for index in np.linspace(0, len(rows) - 1, count).round().astype(int)]
