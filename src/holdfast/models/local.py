"""Any transformers checkpoint on disk, answering in batches.

    open_model("hf/PATH")

Rows of similar length are batched, left-padded, and decoded with a key/value cache that grows in place; finished rows
leave the batch.  What a row has read is kept until its next turn, so an episode reads each token once.  Sampling draws
from one stream for each sample, so a sample does not depend on what else is in its batch.
"""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from holdfast.core.errors import ModelError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.records import Message
from holdfast.core.store import MANIFEST
from holdfast.models.base import Finish, Output, Request
from holdfast.models.chat_template import REFUSALS, ChatTemplate
from holdfast.models.pinned import CARD

#: What transformers calls the cache: the second since 5.24.
_CACHES = ("past_key_values", "cache")
_HASHED = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}
_ROOM = 32
#: Tokens of a prompt's end that show whether it opens a thought.
_TAIL = 64

#: Told of a turn: the request, the tokens read and the tokens written.
OnTurn = Callable[[Request, Sequence[int], Sequence[int]], None]


def open_named(rest: str) -> LocalModel:
    """Open the checkpoint in a folder.

    Raises:
        ModelError: the folder holds no checkpoint that transformers can load, or no chat template.
    """
    return LocalModel(Path(rest), name=f"hf/{rest}")


class LocalModel:
    """A checkpoint on disk behind the `Model` protocol.

    Args:
        path: a folder with `config.json`, weights and a tokenizer with a chat template.
        name: the name it goes by.
        batch: most rows decoded at a time.
        dtype: of the weights; None keeps the checkpoint's on a GPU and takes float32 on a CPU.
        memory: most bytes of keys and values kept between the turns of episodes; 0 keeps none.

    Raises:
        ModelError: there is no such checkpoint.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str = "",
        batch: int = 64,
        dtype: torch.dtype | None = None,
        memory: int = 512 * 2**20,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model, tokenizer = _load(path, dtype or (torch.float32 if device.type == "cpu" else None))
        model.to(device)  # type: ignore[arg-type]
        self.name, self.path, self.batch = name or f"hf/{path}", path, batch
        self._take(model, tokenizer, memory)

    @classmethod
    def around(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, on_turn: OnTurn | None = None
    ) -> LocalModel:
        """A model in memory, as it is now: ask it before its weights change, for it keeps what it has read.

        Args:
            model: any causal model; it is put into evaluation mode.
            tokenizer: its tokenizer, with a chat template.
            on_turn: told of each turn in tokens: what was asked, the tokens read, the tokens written.
        """
        made = cls.__new__(cls)
        made.name, made.path, made.batch = "live", Path(str(model.name_or_path)), 64
        made._take(model, tokenizer, memory=512 * 2**20)
        made._on_turn = on_turn
        return made

    def _take(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: int) -> None:
        self.device, self.model, self.tokenizer = model.device, model.eval(), tokenizer
        self._on_turn: OnTurn | None = None
        self.template = ChatTemplate(tokenizer)
        self._ends = turn_ends(self.model, self.tokenizer)
        self._silent = {_id(self.tokenizer, token) for token in self.template.silent}
        taken = _forward_takes(self.model)
        self._last_only = "logits_to_keep" in taken
        self._cache_name = next((name for name in taken if name in _CACHES), _CACHES[0])
        self._context = int(getattr(self.model.config, "max_position_embeddings", None) or sys.maxsize)
        self._memory = _Memory(memory if _plain_attention(self.model) else 0)

    @cached_property
    def identity(self) -> str:
        """Hash of weights, tokenizer, template and number format."""
        # Manifests and cards tell of the making: the same weights made twice are the same model.
        files = [p for p in self.path.iterdir() if p.suffix in _HASHED and p.name not in (MANIFEST, CARD)]
        return key_of([hash_files(files), str(self.model.dtype)])

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """One turn for each request, in order; a conversation that the template refuses is an `error` finish."""
        outputs: dict[int, Output] = {}
        rows = []
        for index, request in enumerate(requests):
            try:
                row = self._row(index, request)
            except REFUSALS as error:
                outputs[index] = _failed(f"the chat template fails: {_first_line(error)}")
                continue
            if len(row.ids) < self._context:
                rows.append(row)
            else:
                reason = f"the conversation has {len(row.ids)} tokens and the model reads {self._context}"
                outputs[index] = _failed(reason)
        rows.sort(key=lambda row: (len(row.ids) - row.kept, len(row.ids)))
        for start in range(0, len(rows), self.batch):
            chunk = rows[start : start + self.batch]
            outputs |= self._answers(chunk)
            if self._on_turn:
                for row in chunk:
                    if outputs[row.index].finish != "error":
                        self._on_turn(row.request, row.ids, row.written)
        return [outputs[index] for index in range(len(requests))]

    def _answers(self, rows: list[_Row]) -> dict[int, Output]:
        """The outputs of some rows, by index; what cannot be read together, such as for want of memory, is halved."""
        try:
            self._decode(rows)
        except (RuntimeError, IndexError) as error:
            if len(rows) == 1:
                return {rows[0].index: _failed(f"the model fails: {_first_line(error)}")}
            for row in rows:
                row.written.clear()
            half = len(rows) // 2
            return self._answers(rows[:half]) | self._answers(rows[half:])
        return {row.index: Output(row.message, row.finish, (len(row.ids), len(row.written))) for row in rows}

    def count(self, request: Request) -> int:
        """How many tokens a request has, template and tools included, counted as `generate` reads them.

        Raises:
            TemplateError: the chat template refuses the conversation.
        """
        return len(self._read(request))

    def _read(self, request: Request) -> list[int]:
        text = self.template.render(request.messages, request.tools, prompt=True)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _row(self, index: int, request: Request) -> _Row:
        row = _Row(index, request, self._read(request))
        row.past = self._memory.take(row.key, row.ids)
        return row

    @torch.inference_mode()
    def _decode(self, rows: list[_Row]) -> None:
        """Write one turn for each row, in place."""
        batch = _Batch(self, rows)
        logits = batch.read()
        alive = list(rows)
        while True:
            chosen = _choose(logits, batch.rows)
            for row, token in zip(batch.rows, chosen, strict=True):
                if row in alive:
                    row.written.append(token)
            ended = [
                row
                for row in alive
                if row.written[-1] in self._ends or row.full or len(row.ids) + len(row.written) >= self._context
            ]
            for row in ended:
                self._finish(row, batch)
            alive = [row for row in alive if row not in ended]
            if not alive:
                return
            if len(alive) <= 3 * len(batch.rows) // 4:
                batch.keep([i for i, row in enumerate(batch.rows) if row in alive])
            logits = batch.step([row.written[-1] for row in batch.rows])

    def _finish(self, row: _Row, batch: _Batch) -> None:
        """Turn what a row wrote into a message; keep what it read if there will be a next turn."""
        row.finish = "stop" if row.written[-1] in self._ends else "length"
        said = [token for token in row.written if token not in self._silent and token not in self._ends]
        text, prompt = (self._decoded(ids) for ids in (said, row.ids[-_TAIL:]))
        row.message = self.template.read(text, row.request.tools, prompt, cut=row.finish == "length")
        if row.message.tool_calls and self._memory.limit:
            self._memory.put(row.key, [*row.ids, *row.written[:-1]], batch.read_by(row))

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


@dataclass(eq=False)
class _Row:
    """One request on its way to an answer."""

    index: int
    request: Request
    ids: list[int]
    written: list[int] = field(default_factory=list)
    finish: Finish = "stop"
    message: Message = field(default_factory=lambda: Message(role="assistant"))
    past: _Past | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Names the episode: what its earlier turns read is kept under it."""
        return self.request.case, self.request.seed

    @property
    def kept(self) -> int:
        """How many of its tokens were read in an earlier turn."""
        return self.past.length if self.past else 0

    @property
    def full(self) -> bool:
        return len(self.written) >= self.request.max_tokens

    @cached_property
    def uniform(self) -> NDArray[np.float64]:
        """The sample's own random numbers, shape (max_tokens,): fixed by case, seed and turn."""
        seed = int(key_of([self.request.case, self.request.seed, len(self.request.messages)]), 16)
        return np.random.default_rng(seed).random(self.request.max_tokens)


def _failed(reason: str) -> Output:
    return Output(Message(role="assistant"), finish="error", error=reason)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _choose(logits: torch.Tensor, rows: Sequence[_Row]) -> list[int]:
    """The next token of each row from logits of shape (rows, vocabulary): greedy at 0, else by inverse CDF."""
    best: list[int] = logits.argmax(-1).tolist()
    for i, row in enumerate(rows):
        if row.request.temperature > 0 and not row.full:
            cumulated = torch.softmax(logits[i].double() / row.request.temperature, -1).cumsum(-1)
            point = row.uniform[len(row.written)] * float(cumulated[-1])
            best[i] = min(int(torch.searchsorted(cumulated, point, right=True)), len(cumulated) - 1)
    return best


class _Layer(DynamicLayer):
    """A cache layer that keeps room to grow into, instead of copying all it holds at each token."""

    _keys: torch.Tensor
    _values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        have = self.get_seq_length()
        need = have + key_states.shape[-2]
        if have == 0 or need > self._keys.shape[-2]:
            self._keys = self._grown(self.keys, have, need, key_states)
            self._values = self._grown(self.values, have, need, value_states)
        self._keys[:, :, have:need] = key_states
        self._values[:, :, have:need] = value_states
        self.keys, self.values = self._keys[:, :, :need], self._values[:, :, :need]
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor | None, have: int, need: int, like: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = like.shape
        room = like.new_empty(rows, heads, max(need + _ROOM, have * 3 // 2), width)
        if have and old is not None:
            room[:, :, :have] = old
        return room

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.keys is not None:
            have = self.get_seq_length()
            self._keys, self._values = self._keys[indices], self._values[indices]
            self.keys, self.values = self._keys[:, :, :have], self._values[:, :, :have]


@dataclass(frozen=True)
class _Past:
    """Keys and values of what a row has read: for each layer two tensors of shape (heads, length, width)."""

    ids: list[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]
    length: int

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


class _Memory:
    """What episodes have read so far, oldest forgotten first when the limit in bytes is reached."""

    def __init__(self, limit: int) -> None:
        self.limit, self._held = limit, 0
        self._pasts: OrderedDict[tuple[str, int], _Past] = OrderedDict()

    def put(self, key: tuple[str, int], ids: list[int], layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        past = _Past(ids, layers, len(ids))
        self._drop(key)
        self._pasts[key] = past
        self._held += past.bytes
        while self._held > self.limit:
            self._drop(next(iter(self._pasts)))

    def take(self, key: tuple[str, int], ids: list[int]) -> _Past | None:
        """What was read of these tokens before; at least the last token is left to read."""
        past = self._drop(key)
        if past is None:
            return None
        most = min(len(past.ids), len(ids) - 1)
        same = next((i for i in range(most) if past.ids[i] != ids[i]), most)
        return _Past(past.ids, past.layers, same) if same > 0 else None

    def _drop(self, key: tuple[str, int]) -> _Past | None:
        past = self._pasts.pop(key, None)
        self._held -= past.bytes if past else 0
        return past


class _Batch:
    """Rows decoded together: their cache, their mask (rows, columns) and their positions."""

    def __init__(self, owner: LocalModel, rows: list[_Row]) -> None:
        self.owner, self.rows = owner, list(rows)
        self.cache = _empty_cache(owner.model)
        old, new = max(row.kept for row in rows), max(len(row.ids) - row.kept for row in rows)
        pad = owner.tokenizer.pad_token_id or 0
        ids = torch.full((len(rows), new), pad, dtype=torch.long)
        mask = torch.zeros(len(rows), old + new, dtype=torch.long)
        for i, row in enumerate(rows):
            fresh = row.ids[row.kept :]
            ids[i, new - len(fresh) :] = torch.tensor(fresh)
            mask[i, old - row.kept : old] = 1
            mask[i, old + new - len(fresh) :] = 1
        self.mask, self._ids = mask.to(owner.device), ids.to(owner.device)
        self._recall(old)

    def _recall(self, old: int) -> None:
        """Put what rows read in earlier turns into the cache, right-aligned in its first `old` columns."""
        first = next((row.past for row in self.rows if row.past), None)
        if first is None:
            return
        for index, (like, _) in enumerate(first.layers):
            heads, _, width = like.shape
            both = [like.new_zeros(len(self.rows), heads, old, width) for _ in range(2)]
            for i, row in enumerate(self.rows):
                if row.past:
                    for part, kept in zip(both, row.past.layers[index], strict=True):
                        part[i, :, old - row.kept :] = kept[:, : row.kept]
            self.cache.update(both[0], both[1], index)
        for row in self.rows:
            if row.past:
                row.past = _Past([], [], row.past.length)

    def read(self) -> torch.Tensor:
        """Read the prompts; logits of the next token, shape (rows, vocabulary)."""
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, -self._ids.shape[1] :]
        return self._forward(self._ids, positions)

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Read one more token of each row; logits of the next, shape (rows, vocabulary)."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], -1)
        ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        return self._forward(ids, self.mask.sum(-1, keepdim=True) - 1)

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        named: dict[str, Any] = {self.owner._cache_name: self.cache}
        if self.owner._last_only:
            named["logits_to_keep"] = 1
        out = self.owner.model(input_ids=ids, attention_mask=self.mask, position_ids=positions, use_cache=True, **named)
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def keep(self, indices: list[int]) -> None:
        """Let the other rows go."""
        chosen = torch.tensor(indices, device=self.mask.device)
        self.rows = [self.rows[i] for i in indices]
        self.mask = self.mask[chosen]
        self.cache.batch_select_indices(chosen)

    def read_by(self, row: _Row) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """A copy of the keys and values of what a row has read, without padding."""
        i = self.rows.index(row)
        at = self.mask[i].nonzero()[:, 0]
        return [(layer.keys[i][:, at], layer.values[i][:, at]) for layer in self.cache.layers]  # type: ignore[union-attr,index]


def _load(path: Path, dtype: torch.dtype | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not (path / "config.json").is_file():
        remedy = "give the folder of a transformers checkpoint; nothing is downloaded"
        raise ModelError("not a checkpoint: no config.json", where=path, remedy=remedy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=dtype or "auto")
    except Exception as error:  # transformers, tokenizers, safetensors and torch each raise their own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "save it again with save_pretrained"
        raise ModelError(f"the checkpoint cannot be loaded: {reason}", where=path, remedy=remedy) from None
    if not tokenizer.chat_template:
        remedy = "put a chat_template.jinja beside the tokenizer"
        raise ModelError("the tokenizer has no chat template", where=path, remedy=remedy)
    return model, tokenizer


def turn_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a turn: those that the model is configured with, and those of its template."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    own = [configured] if isinstance(configured, int) else configured or []
    known = tokenizer.get_added_vocab()
    return frozenset([*own, *(known[end] for end in ChatTemplate(tokenizer).ends), *_one(tokenizer.eos_token_id)])


def _id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    return found if isinstance(found, int) else -1


def _one(token: Any) -> list[int]:
    return [token] if isinstance(token, int) else []


def _plain_attention(model: PreTrainedModel) -> bool:
    """Whether every layer attends to all it has read: only then does a cache of ours stand for the model's own."""
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def _forward_takes(model: PreTrainedModel) -> Collection[str]:
    """Names of the arguments of a model's `forward`, its own first and then those of the classes that it derives from.

    A `forward` that takes any keyword hands it on to the one above; a model in PEFT's adapters, to the one inside.
    """
    unwrap: Callable[[], PreTrainedModel] | None = getattr(model, "get_base_model", None)
    inner = unwrap() if unwrap else model
    above = (kind.__dict__["forward"] for kind in type(inner).__mro__ if "forward" in kind.__dict__)
    return {name: None for forward in (inner.forward, *above) for name in inspect.signature(forward).parameters}


def _empty_cache(model: PreTrainedModel) -> Cache:
    if _plain_attention(model):
        return Cache(layer_class_to_replicate=_Layer)
    return DynamicCache(config=model.config)
