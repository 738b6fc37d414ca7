"""Runs any transformers checkpoint on disk, in batches.

    open_model("hf/PATH")

Rows are decoded together with a preallocated key/value cache; finished rows leave the batch.  Keys and values of what
was read are kept in a radix tree: a prefix that several rows share is read once, and an episode's next turn reads only
the tokens that are new.  Each sample draws from its own random stream, so it does not depend on the rest of its batch.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import ModelError
from holdfast.core.identity import hash_files, key_of
from holdfast.core.records import Message
from holdfast.core.store import MANIFEST
from holdfast.models.base import Finish, Output, Request
from holdfast.models.chat_template import REFUSALS, ChatTemplate
from holdfast.models.free_memory import free_bytes
from holdfast.models.loops import loop_period
from holdfast.models.pinned import CARD
from holdfast.models.prefix_tree import Prefix, PrefixTree, shared_prefixes
from holdfast.models.row_cache import PromptRow, RowBatch, plain_attention

_LOG = logging.getLogger(__name__)
#: What transformers calls the cache: the second since 5.24.
_CACHES = ("past_key_values", "cache")
_HASHED = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}
#: Tokens at the end of a prompt that show whether it opens a thought.
_TAIL = 64
#: Fewest tokens that are worth reading once for several rows.
_LEAST_SHARED = 16
#: Part of the free memory for keys and values that are kept, and for those of the rows being decoded.
_SHARE = 1 / 3
#: Why an answer that repeats itself is truncated.
LOOPED = "truncated before the token limit: the answer repeats the same passage without end"

#: Called for each turn with the request, the tokens of its prompt and the tokens that were written.
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
        name: the model's name.
        batch: most rows decoded at a time; fewer if their keys and values do not fit a third of the free memory.
        dtype: of the weights; None keeps the checkpoint's on a GPU and takes float32 on a CPU.
        memory: most bytes of keys and values kept for later turns and other episodes; None takes a third of the free
            memory, 0 keeps none.  Models with sliding windows or recurrent states keep none.

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
        memory: int | None = None,
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
        """Wrap a model in memory. Make a new wrapper after its weights changed: keys and values of old ones are kept.

        Args:
            model: any causal model; it is put into evaluation mode.
            tokenizer: its tokenizer, with a chat template.
            on_turn: called for each turn with the request, the tokens of its prompt and the tokens that were written.
        """
        wrapper = cls.__new__(cls)
        wrapper.name, wrapper.path, wrapper.batch = "live", Path(str(model.name_or_path)), 64
        wrapper._take(model, tokenizer, memory=None)
        wrapper._on_turn = on_turn
        return wrapper

    def _take(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, memory: int | None) -> None:
        self.device, self.model, self.tokenizer = model.device, model.eval(), tokenizer
        self._on_turn: OnTurn | None = None
        self.template = ChatTemplate(tokenizer)
        self._ends = turn_ends(self.model, self.tokenizer)
        self._silent = {_id(self.tokenizer, token) for token in self.template.silent}
        taken = _forward_takes(self.model)
        self._last_only = "logits_to_keep" in taken
        self._cache_name = next((name for name in taken if name in _CACHES), _CACHES[0])
        self._context = int(getattr(self.model.config, "max_position_embeddings", None) or sys.maxsize)
        self._memory = memory if plain_attention(self.model) else 0
        if memory != 0 and self._memory == 0:
            kind = type(self.model).__name__
            _LOG.info("%s has layers that do not attend to all tokens: each turn is read from the beginning", kind)
        self._token_bytes = _token_bytes(self.model)
        self._tree = PrefixTree(0)

    @cached_property
    def identity(self) -> str:
        """Hash of weights, tokenizer, template and number format."""
        # Manifests and cards record how the weights were made, which does not matter for what the model writes.
        files = [p for p in self.path.iterdir() if p.suffix in _HASHED and p.name not in (MANIFEST, CARD)]
        return key_of([hash_files(files), str(self.model.dtype)])

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Write one turn for each request; a conversation that the template refuses is an `error` finish.

        Requests with the same prompt that are decoded greedily are answered once.
        """
        outputs: dict[int, Output] = {}
        rows = []
        for index, request in enumerate(requests):
            try:
                row = _Row(index, request, self._read(request))
            except REFUSALS as error:
                outputs[index] = _failed(f"the chat template fails: {_first_line(error)}")
                continue
            if len(row.ids) < self._context:
                rows.append(row)
            else:
                reason = f"the conversation has {len(row.ids)} tokens and the model reads {self._context}"
                outputs[index] = _failed(reason)
        self._tree.begin_round(self._limit())
        for row in rows:
            # Marks what this round uses, so that no batch removes what a later one needs.
            self._tree.match(row.ids, len(row.ids) - 1)
        for chunk in self._chunks(_distinct(rows)):
            outputs |= self._answers(chunk)
            if self._on_turn:
                for twin in (twin for row in chunk for twin in row.twins):
                    if outputs[twin.index].finish != "error":
                        self._on_turn(twin.request, twin.ids, twin.written)
        return [outputs[index] for index in range(len(requests))]

    def episodes_kept(self, request: Request) -> int:
        """Return how many episodes that begin with this request find their earlier turns in memory.

        With more episodes than this at a time, some are read from the beginning in each turn.  An episode is taken to
        grow to twice its first prompt.
        """
        if self._memory == 0:
            return sys.maxsize
        try:
            tokens = len(self._read(request)) + request.max_tokens
        except REFUSALS:
            return sys.maxsize
        return self._limit() // max(1, 2 * tokens * self._token_bytes)

    def _limit(self) -> int:
        """Most bytes of keys and values to keep."""
        return self._memory if self._memory is not None else int(_SHARE * (self._free() + self._tree.held))

    def _free(self) -> int:
        """Bytes of memory that are free on the model's device."""
        if self.device.type != "cuda":
            return free_bytes()
        # The allocator of torch holds memory that it does not use at present.
        cached = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(torch.cuda.mem_get_info(self.device)[0]) + cached

    def _chunks(self, rows: list[_Row]) -> list[list[_Row]]:
        """Divide rows into batches of similar length whose keys and values fit into memory."""
        free = int(_SHARE * self._free())
        chunks: list[list[_Row]] = []
        for row in sorted(rows, key=lambda row: len(row.ids)):
            row_bytes = self._token_bytes * (len(row.ids) + row.request.max_tokens)
            # The longest row comes last, and all rows of a batch take as much memory.
            if not chunks or len(chunks[-1]) >= self.batch or (len(chunks[-1]) + 1) * row_bytes > free:
                chunks.append([])
            chunks[-1].append(row)
        return chunks

    def _answers(self, rows: list[_Row]) -> dict[int, Output]:
        """Return the outputs of some rows by index; a batch that fails, such as for lack of memory, is halved."""
        reason = self._attempt(rows)
        twins = [twin for row in rows for twin in row.twins]
        if reason is None:
            return {
                row.index: Output(row.message, row.finish, (len(row.ids), len(row.written)), row.stopped)
                for row in twins
            }
        if len(rows) == 1:
            return {row.index: _failed(f"the model fails: {reason}") for row in twins}
        for row in rows:
            row.written, row.ended, row.stopped = [], False, None
        half = len(rows) // 2
        return self._answers(rows[:half]) | self._answers(rows[half:])

    def _attempt(self, rows: list[_Row]) -> str | None:
        """Write one turn for each row; returns why that failed, or None.

        Only the text of the error leaves this function: its traceback would keep the batch's tensors alive.
        """
        try:
            self._read_shared(rows)
            self._decode(rows)
        except (RuntimeError, IndexError) as error:
            return _first_line(error)
        return None

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

    @torch.inference_mode()
    def _read_shared(self, rows: list[_Row]) -> None:
        """Read the prefixes that several rows share, each once, into the tree."""
        if self._memory == 0:
            return
        for level in shared_prefixes([row.ids for row in rows], _LEAST_SHARED):
            prefixes = [_Shared(ids, self._tree.match(ids, len(ids))) for ids in level]
            unread = [row for row in prefixes if len(row.ids) - row.past.length >= _LEAST_SHARED]
            for start in range(0, len(unread), self.batch):
                part = sorted(unread[start : start + self.batch], key=lambda row: len(row.ids) - row.past.length)
                batch = self._batch(part)
                batch.read()
                for i, row in enumerate(part):
                    self._tree.put(row.ids, batch.token_bytes, partial(batch.copy, i))

    def _batch(self, rows: Sequence[PromptRow], room: int = 0) -> RowBatch:
        return RowBatch(self.model, self._cache_name, self._last_only, rows, room)

    @torch.inference_mode()
    def _decode(self, rows: list[_Row]) -> None:
        """Write one turn for each row, in place."""
        for row in rows:
            row.past = self._tree.match(row.ids, len(row.ids) - 1)
        alive = sorted(rows, key=lambda row: len(row.ids) - row.past.length)
        batch = self._batch(alive, max(row.request.max_tokens for row in rows))
        logits = batch.read()
        for row in rows:
            row.past = Prefix()
        while True:
            chosen = self._choose(logits, alive)
            for i, (row, token) in enumerate(zip(alive, chosen, strict=True)):
                if not row.ended:
                    row.written.append(token)
                    row.ended = token in self._ends or len(row.written) >= self._most(row) or _loops(row)
                    if row.ended:
                        self._finish(row, batch, i)
            going = [i for i, row in enumerate(alive) if not row.ended]
            if not going:
                return
            if len(going) <= 3 * len(alive) // 4:
                batch.keep(going)
                alive = [alive[i] for i in going]
            logits = batch.step([row.written[-1] for row in alive])

    def _most(self, row: _Row) -> int:
        """Most tokens that a row may write."""
        return min(row.request.max_tokens, self._context - len(row.ids))

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row]) -> list[int]:
        """Return the next token of each row: the most likely at temperature 0, else sampled by inverse CDF.

        Args:
            logits: of shape (rows, vocabulary).
            rows: the rows; those that have ended take part for shape only.
        """
        best: list[int] = logits.argmax(-1).tolist()
        for i, row in enumerate(rows):
            if row.request.temperature > 0 and not row.ended:
                cumulated = torch.softmax(logits[i].double() / row.request.temperature, -1).cumsum(-1)
                point = row.uniform[len(row.written)] * float(cumulated[-1])
                best[i] = min(int(torch.searchsorted(cumulated, point, right=True)), len(cumulated) - 1)
        return best

    def _finish(self, row: _Row, batch: RowBatch, place: int) -> None:
        """Turn what a row wrote into messages; keep its keys and values if there will be a next turn."""
        read = [*row.ids, *row.written[:-1]]
        calls = False
        for twin in row.twins:
            twin.written, twin.stopped = row.written, row.stopped
            twin.finish = "stop" if row.written[-1] in self._ends else "length"
            spoken = [token for token in row.written if token not in self._silent and token not in self._ends]
            text, prompt = (self._decoded(ids) for ids in (spoken, row.ids[-_TAIL:]))
            twin.message = self.template.read(text, twin.request.tools, prompt, cut=twin.finish == "length")
            calls = calls or bool(twin.message.tool_calls)
        if calls and self._memory != 0:
            self._tree.put(read, batch.token_bytes, partial(batch.copy, place))
        elif not calls:
            self._tree.release(row.ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


@dataclass(eq=False)
class _Row:
    """One request and its answer.

    Attributes:
        stopped: why it was stopped before its token limit, or None.
        twins: the rows that this one is decoded for: itself, and those with the same prompt and greedy decoding.
    """

    index: int
    request: Request
    ids: list[int]
    written: list[int] = field(default_factory=list)
    finish: Finish = "stop"
    message: Message = field(default_factory=lambda: Message(role="assistant"))
    past: Prefix = field(default_factory=Prefix)
    ended: bool = False
    stopped: str | None = None
    twins: list[_Row] = field(default_factory=list)

    @cached_property
    def uniform(self) -> NDArray[np.float64]:
        """The sample's own random numbers, shape (max_tokens,): fixed by case, seed and turn."""
        seed = int(key_of([self.request.case, self.request.seed, len(self.request.messages)]), 16)
        return np.random.default_rng(seed).random(self.request.max_tokens)


@dataclass(eq=False)
class _Shared:
    """A prefix of several rows."""

    ids: list[int]
    past: Prefix


def _distinct(rows: Sequence[_Row]) -> list[_Row]:
    """Return one row for each answer: rows with the same prompt and limit, decoded greedily, get the same tokens."""
    firsts: dict[tuple[tuple[int, ...], int], _Row] = {}
    distinct = []
    for row in rows:
        first = row
        if row.request.temperature <= 0:
            first = firsts.setdefault((tuple(row.ids), row.request.max_tokens), row)
        first.twins.append(row)
        if first is row:
            distinct.append(row)
    return distinct


def _loops(row: _Row) -> bool:
    looped = loop_period(row.written) is not None
    if looped:
        row.stopped = LOOPED
    return looped


def _failed(reason: str) -> Output:
    return Output(Message(role="assistant"), finish="error", error=reason)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _load(path: Path, dtype: torch.dtype | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if not (path / "config.json").is_file():
        remedy = "pass the folder of a transformers checkpoint; nothing is downloaded"
        raise ModelError("not a checkpoint: no config.json", where=path, remedy=remedy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=dtype or "auto")
    except Exception as error:  # transformers, tokenizers, safetensors and torch raise different classes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "save it again with save_pretrained"
        raise ModelError(f"the checkpoint cannot be loaded: {reason}", where=path, remedy=remedy) from None
    if not tokenizer.chat_template:
        remedy = "put a chat_template.jinja beside the tokenizer"
        raise ModelError("the tokenizer has no chat template", where=path, remedy=remedy)
    return model, tokenizer


def turn_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a turn: those of the generation config, of the chat template and of the tokenizer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    own = [configured] if isinstance(configured, int) else configured or []
    known = tokenizer.get_added_vocab()
    return frozenset([*own, *(known[end] for end in ChatTemplate(tokenizer).ends), *_one(tokenizer.eos_token_id)])


def _id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    number = tokenizer.convert_tokens_to_ids(token)
    return number if isinstance(number, int) else -1


def _one(token: Any) -> list[int]:
    return [token] if isinstance(token, int) else []


def _token_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of keys and values for each token, as far as the model's config tells; 0 if it does not."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    layers = getattr(config, "num_hidden_layers", None) or 0
    return int(2 * layers * groups * width * model.dtype.itemsize)


def _forward_takes(model: PreTrainedModel) -> Collection[str]:
    """Return the argument names of a model's `forward`, then those of the `forward` of its base classes.

    A `forward` with `**kwargs` passes them on to the base class.  For a PEFT model, the model inside is inspected.
    """
    unwrap: Callable[[], PreTrainedModel] | None = getattr(model, "get_base_model", None)
    inner = unwrap() if unwrap else model
    above = (kind.__dict__["forward"] for kind in type(inner).__mro__ if "forward" in kind.__dict__)
    return {name: None for forward in (inner.forward, *above) for name in inspect.signature(forward).parameters}
