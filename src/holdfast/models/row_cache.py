"""The key/value cache of rows that are decoded together, and the batch that reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from holdfast.models.prefix_tree import Prefix

if TYPE_CHECKING:
    from holdfast.models.prefix_tree import Layers

#: Columns that are allocated at a time for tokens to be written.
_ROOM = 256
#: Tokens of prompts in one forward pass.  Activations of more do not fit the caches of a CPU, and the pages of such
#: large blocks are returned to the system after each operation; a GPU is busy only with more.
_READ = {"cpu": 768}
_READ_ON_GPU = 16384


class PromptRow(Protocol):
    """A token sequence to read: its tokens, and the keys and values of the first of them."""

    ids: list[int]
    past: Prefix


@dataclass
class _Window:
    """The rows and columns of the cache that the next forward pass continues: rows first..last, columns low..end."""

    rows: int
    columns: int
    first: int = 0
    last: int = 0
    low: int = 0
    end: int = 0


class _RowLayer(DynamicLayer):
    """One layer of keys and values, of shape (rows, heads, columns, width), allocated once and written in place."""

    def __init__(self, window: _Window) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._window = window
        self._both: list[torch.Tensor] = []

    def show(self) -> None:
        """Let the model see the window, and nothing else."""
        if self._both:
            w = self._window
            self.keys, self.values = (part[w.first : w.last, :, w.low : w.end] for part in self._both)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the keys and values of new tokens behind the window; returns those of the window and the new ones."""
        w, stop = self._window, self._window.end + key_states.shape[-2]
        self._allocate(key_states[0], value_states[0], stop)
        for part, new in zip(self._both, (key_states, value_states), strict=True):
            part[w.first : w.last, :, w.end : stop] = new
        self.keys, self.values = (part[w.first : w.last, :, w.low : stop] for part in self._both)
        return self.keys, self.values

    def recall(self, row: int, start: int, past: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Write keys and values that were computed before into a row, from column `start` on."""
        for both in past:
            self._allocate(*both, start)
            tokens = both[0].shape[1]
            for part, old in zip(self._both, both, strict=True):
                part[row, :, start : start + tokens] = old
            start += tokens

    def _allocate(self, keys: torch.Tensor, values: torch.Tensor, stop: int) -> None:
        """Allocate room for all rows up to column `stop`, from keys and values of shape (heads, tokens, width)."""
        w = self._window
        if not self._both:
            self.device, self.dtype, self.is_initialized = keys.device, keys.dtype, True
            # Zeros, for what is masked must be finite: 0 · NaN is NaN.
            self._both = [x.new_zeros(w.rows, x.shape[0], w.columns, x.shape[2]) for x in (keys, values)]
        elif stop > self._both[0].shape[2]:
            w.rows, w.columns = w.last, stop + _ROOM
            for i, old in enumerate(self._both):
                self._both[i] = old.new_zeros(w.rows, old.shape[1], w.columns, old.shape[3])
                self._both[i][:, :, w.low : w.end] = old[: w.rows, :, w.low : w.end]

    def keep(self, rows: Sequence[int]) -> None:
        """Move these rows, in ascending order, to the first places."""
        columns = slice(self._window.low, self._window.end)
        for part in self._both:
            for to, row in enumerate(rows):
                if to != row:
                    part[to, :, columns] = part[row, :, columns]

    def copy(self, row: int, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a copy of a row's keys and values in some columns, each of shape (heads, tokens, width)."""
        keys, values = (part[row][:, columns] for part in self._both)
        return keys, values

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values for each token."""
        return sum(part.shape[1] * part.shape[3] * part.element_size() for part in self._both)


def plain_attention(model: PreTrainedModel) -> bool:
    """Whether every layer attends to all tokens before, so that keys and values can be kept and shared between rows.

    Layers with a sliding window or a recurrent state (hybrid models, SSMs) keep a summary that holds for one sequence.
    """
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


class RowBatch:
    """Sequences that are read and then continued together.

    Each sequence occupies one row, right-aligned, so that all rows write their next token into the same column.

    Args:
        model: any causal model of transformers.
        cache_name: name of the argument of `forward` that takes the cache.
        last_only: whether `forward` takes `logits_to_keep`.
        rows: what to read. Rows with keys and values need `plain_attention`.
        room: number of tokens to be written in each row, as far as it is known.
    """

    def __init__(
        self, model: PreTrainedModel, cache_name: str, last_only: bool, rows: Sequence[PromptRow], room: int = 0
    ) -> None:
        self._model, self._cache_name = model, cache_name
        self._more = {"logits_to_keep": 1} if last_only else {}
        self._device = model.device
        self._rows = list(rows)
        pads = max(len(row.ids) for row in rows)
        self._window = _Window(len(rows), 0)
        self._plain = plain_attention(model)
        self._groups = list(self._grouped())
        # In a group of several, a row's new tokens may stand behind padding.
        width = max(pads, *(max(r.past.length for r in g) + _new(g) for g in self._groups))
        self._window.columns, self._window.end = width + min(room, _ROOM), width
        self._mask = torch.zeros(len(rows), width + room, dtype=torch.long, device=self._device)
        self._lengths = torch.tensor([[len(row.ids)] for row in rows], device=self._device)
        if self._plain:
            layers = len(DynamicCache(config=model.config).layers)
            self._layers = [_RowLayer(self._window) for _ in range(layers)]
            self._cache = Cache(layers=list(self._layers))
        else:
            self._layers, self._cache = [], DynamicCache(config=model.config)

    def _grouped(self) -> Iterator[list[PromptRow]]:
        """Yields consecutive rows for each forward pass over prompts; other caches than ours take all rows at once."""
        limit = _READ.get(self._device.type, _READ_ON_GPU)
        group: list[PromptRow] = []
        for row in self._rows:
            longest = max(_new(group), len(row.ids) - row.past.length)
            if group and self._plain and (len(group) + 1) * longest > limit:
                yield group
                group = []
            group.append(row)
        yield group

    def read(self) -> torch.Tensor:
        """Read the sequences; returns logits of the next token, of shape (rows, vocabulary)."""
        width, first = self._window.end, 0
        logits = []
        for group in self._groups:
            logits.append(self._read(group, first, width))
            first += len(group)
        w = self._window
        w.first, w.last = 0, len(self._rows)
        w.low = int(self._mask.any(0).nonzero()[0])
        return torch.cat(logits)

    def _read(self, group: list[PromptRow], first: int, width: int) -> torch.Tensor:
        """Read one group of rows, whose new tokens end in column `width`."""
        new = _new(group)
        ids = torch.zeros(len(group), new, dtype=torch.long)
        mask = torch.zeros(len(group), width, dtype=torch.long)
        for i, row in enumerate(group):
            fresh = row.ids[row.past.length :]
            ids[i, new - len(fresh) :] = torch.tensor(fresh)
            mask[i, width - new - row.past.length : width - new] = 1
            mask[i, width - len(fresh) :] = 1
        self._mask[first : first + len(group), :width] = mask
        w = self._window
        w.first, w.last, w.end = first, first + len(group), width - new
        w.low = width - new - max(row.past.length for row in group)
        for index, layer in enumerate(self._layers):
            for i, row in enumerate(group):
                layer.recall(first + i, width - new - row.past.length, list(row.past.tensors(index)))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -new:]
        return self._forward(ids.to(self._device), positions.to(self._device))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read one more token of each row; returns logits of the next, of shape (rows, vocabulary)."""
        self._mask[: len(self._rows), self._window.end] = 1
        ids = torch.tensor(tokens, device=self._device)[:, None]
        logits = self._forward(ids, self._lengths)
        self._lengths += 1
        return logits

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        w = self._window
        for layer in self._layers:
            layer.show()
        named: dict[str, Any] = {self._cache_name: self._cache, **self._more}
        mask = self._mask[w.first : w.last, w.low : w.end + ids.shape[1]]
        out = self._model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **named)
        w.end += ids.shape[1]
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def keep(self, indices: Sequence[int]) -> None:
        """Remove all rows but these, which are given in ascending order."""
        chosen = torch.tensor(indices, device=self._device)
        self._rows = [self._rows[i] for i in indices]
        w = self._window
        self._mask[: len(indices)] = self._mask[chosen]
        self._lengths = self._lengths[chosen]
        if not self._plain:
            self._cache.batch_select_indices(chosen)
        for layer in self._layers:
            layer.keep(indices)
        w.last = len(indices)
        if self._plain:
            w.low = int(self._mask[: w.last].any(0).nonzero()[0])

    def copy(self, row: int, start: int) -> Layers:
        """Returns a copy of the keys and values of a row's tokens from position `start` on, without padding."""
        columns = self._mask[row, : self._window.end].nonzero()[start:, 0]
        return [layer.copy(row, columns) for layer in self._layers]

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values for each token that was read."""
        return sum(layer.token_bytes for layer in self._layers)


def _new(rows: Sequence[PromptRow]) -> int:
    """The most tokens of any of these rows that have no keys and values yet."""
    return max((len(row.ids) - row.past.length for row in rows), default=0)
