"""Rejects training data that supervises tokens which the model cannot learn to write.

Some checkpoints reserve tokens that were never trained, tags of tool calls among them: their rows in the output head
are the same, so their logits are the same whatever the layers below compute.  A training that leaves the head as it is
(LoRA) then cannot make the model write one of them rather than any of the others, though its loss falls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import InputError
from holdfast.train.rows import TrainingRow

#: Two rows of the head are the same if they differ by less than this share of their length; quantisation leaves 0.2%.
_SAME = 0.01
#: Rows of the head that are compared at once.
_AT_ONCE = 16_384


def refuse_indistinct_tokens(
    rows: Sequence[TrainingRow], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Check that each added token that is supervised has a row of its own in the output head, if the head is frozen.

    Only tokens that the tokenizer adds to its vocabulary are compared: special tokens and tags.

    Raises:
        InputError: a token's row is that of another token.
    """
    head = model.get_output_embeddings()
    if head is None or any(parameter.requires_grad for parameter in head.parameters()):
        return
    weight = head.weight.detach()
    if not weight.is_floating_point():
        return
    added = {number: text for text, number in tokenizer.get_added_vocab().items() if number < len(weight)}
    first: dict[int, str] = {}
    for row in rows:
        for number in added.keys() & {int(id_) for id_ in row.ids[row.supervised]}:
            first.setdefault(number, row.example)
    for number, example in sorted(first.items()):
        if same := _like(weight, number):
            what = (
                f"the token '{added[number]}' is supervised, and its row in the frozen output head is that of {same} "
                "other tokens: the model could not learn to write it"
            )
            remedy = "train without lora, or make the token plain text: python runs/plain_tags.py"
            raise InputError(what, where=example, remedy=remedy)


def _like(weight: torch.Tensor, number: int) -> int:
    """How many other rows are the same as one row."""
    own = weight[number].float()
    limit = _SAME * own.norm()
    near = 0
    for start in range(0, len(weight), _AT_ONCE):
        part = weight[start : start + _AT_ONCE].float()
        near += int(((part - own).norm(dim=1) <= limit).sum())
    return near - 1
