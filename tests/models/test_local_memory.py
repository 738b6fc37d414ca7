"""What a local model keeps of earlier turns and other episodes: it saves reading, is bounded, and changes no answer."""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from holdfast.core.records import Message
from holdfast.evals.batch_driver import play
from holdfast.models import Output, Request
from holdfast.models.local import LocalModel, _Shared
from holdfast.models.prefix_tree import Prefix
from holdfast.models.row_cache import RowBatch
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from tests.models.local_requests import requests, texts


def test_a_next_turn_reads_only_what_is_new_and_says_the_same(caller: Path) -> None:
    grid = cases(["pocket-blackmail", "pocket-leaking"], ["pressured", "no_threat"], range(4))
    grid = [case.model_copy(update={"max_acts": 99, "max_turns": 99}) for case in grid]
    remembers, forgets = LocalModel(caller, batch=6), LocalModel(caller, batch=6, memory=0)
    read = {"remembers": 0, "forgets": 0}
    for name, model in (("remembers", remembers), ("forgets", forgets)):

        def count(module: Any, args: Any, kwargs: Any, name: str = name) -> None:
            read[name] += kwargs["input_ids"].numel()

        model.model.register_forward_pre_hook(count, with_kwargs=True)
    open_ = [Episode(case, max_tokens=8) for case in grid]
    for turn in range(3):
        # Each round takes in fresh episodes too, so that batches mix rows with and without a past.
        going = [episode for i, episode in enumerate(open_) if i % 3 <= turn]
        asked = [request for episode in going if (request := episode.request())]
        with_memory, without = remembers.generate(asked), forgets.generate(asked)
        assert with_memory == without
        assert all(output.message.tool_calls for output in without)
        for episode, output in zip(going, without, strict=True):
            episode.take(replace(output, finish="stop"))
    assert read["remembers"] < 0.75 * read["forgets"]


def tokens_read(model: LocalModel) -> list[int]:
    """Counts the tokens that the model reads from now on, padding included, in the list's only item."""
    count = [0]

    def add(module: Any, args: Any, kwargs: Any) -> None:
        count[0] += kwargs["input_ids"].numel()

    model.model.register_forward_pre_hook(add, with_kwargs=True)
    return count


def test_memory_is_bounded(caller: Path) -> None:
    model = LocalModel(caller, memory=200_000)
    model.generate(requests(12))
    assert 0 < model._tree.held <= 200_000


def test_with_little_memory_some_episodes_find_all_their_turns(caller: Path) -> None:
    grid = cases(["pocket-blackmail"], ["pressured"], range(12))
    episodes = [Episode(case.model_copy(update={"max_acts": 99, "max_turns": 99}), max_tokens=4) for case in grid]
    reads = {}
    whole = LocalModel(caller)
    whole.generate([r for e in episodes if (r := e.request())])
    for name, memory in (("all", None), ("half", whole._tree.held // 2), ("none", 0)):
        model = LocalModel(caller, memory=memory)
        open_ = [Episode(e.case, max_tokens=4) for e in episodes]
        count = tokens_read(model)
        for _ in range(2):
            asked = [request for episode in open_ if (request := episode.request())]
            for episode, output in zip(open_, model.generate(asked), strict=True):
                episode.take(replace(output, finish="stop"))
        reads[name] = count[0]
    # Forgetting the oldest first would lose each episode just before its next turn.
    assert reads["all"] < reads["half"] < reads["none"]
    assert reads["none"] - reads["half"] > 0.25 * (reads["none"] - reads["all"])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_common_prefix_is_read_once_and_changes_nothing(tiny: Path, temperature: float) -> None:
    shares, alone = LocalModel(tiny), LocalModel(tiny, memory=0)
    grid = cases(["pocket-blackmail"], ["pressured", "no_threat", "outlet"], range(2))
    asked = [
        replace(r, messages=[*r.messages, Message(role="user", content=f"this is job {n} of this day.")], seed=n)
        for n, case in enumerate(grid * 2)
        if (r := Episode(case, max_tokens=12).request()) is not None
    ]
    asked = [replace(r, temperature=temperature) for r in (*asked, *asked)]
    reads = {model: tokens_read(model) for model in (shares, alone)}
    together = shares.generate(asked)
    assert together == alone.generate(asked)
    assert together == [output for request in asked for output in alone.generate([request])]
    assert len(set(texts(together))) > 5
    before = reads[shares][0]
    assert before < 0.6 * reads[alone][0] / 2
    # What one call has read, the next one finds.
    assert shares.generate(asked[::-1]) == together[::-1]
    assert reads[shares][0] - before < 0.9 * before


def test_equal_greedy_requests_are_decoded_once(tiny: Path) -> None:
    model = LocalModel(tiny, memory=0)
    [one] = requests(1)
    count = tokens_read(model)
    [alone] = model.generate([one])
    once = count[0]
    assert model.generate([one, replace(one, seed=5), one]) == [alone] * 3
    assert count[0] == 2 * once
    longer, sampled = replace(one, max_tokens=14), replace(one, temperature=1.0)
    assert [o.tokens[1] for o in model.generate([one, longer])] == [12, 14]
    assert model.generate([one, sampled, replace(sampled, seed=9)]) == [
        model.generate([request])[0] for request in (one, sampled, replace(sampled, seed=9))
    ]


def test_a_sliding_window_shares_nothing_and_answers_the_same(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = LocalModel(tiny)
    torch.manual_seed(0)
    config = MistralConfig(**{**plain.model.config.to_dict(), "sliding_window": 64, "model_type": "mistral"})
    with caplog.at_level("INFO", "holdfast.models.local"):
        model = LocalModel.around(MistralForCausalLM(config), plain.tokenizer)
    assert "MistralForCausalLM has layers that do not attend to all tokens" in caplog.text
    asked = requests(6)
    together = model.generate([*asked, *asked])
    assert model._tree.held == 0 and model._memory == 0
    assert texts(together) == texts([model.generate([request])[0] for request in asked]) * 2
    prompt = torch.tensor([model._read(asked[0])])
    whole = model.model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    assert (
        together[0].message.content
        == model.tokenizer.decode(whole[0, prompt.shape[1] :], skip_special_tokens=True).strip()
    )


def test_batches_are_as_large_as_memory_allows(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(tiny)
    asked = requests(12)
    whole, sizes = texts(model.generate(asked)), []
    limit = 5 * model._token_bytes * (len(model._read(asked[0])) + 12)
    batch = model._batch

    def checked(rows: Sequence[Any], room: int = 0) -> Any:
        if room:
            sizes.append(len(rows))
            longest = max(len(row.ids) for row in rows) + room
            assert len(rows) == 1 or len(rows) * longest * model._token_bytes <= free / 3
        return batch(rows, room)

    monkeypatch.setattr(model, "_batch", checked)
    monkeypatch.setattr(model, "_free", lambda: free)
    free = 3 * limit
    assert texts(model.generate(asked)) == whole
    assert 1 < max(sizes) < 12
    free = 0
    sizes.clear()
    assert texts(model.generate(asked)) == whole
    assert set(sizes) == {1}


def test_the_size_of_keys_and_values_is_known_before_the_first_token(tiny: Path) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = LocalModel(tiny, dtype=dtype)
        batch = model._batch([_Shared([5, 6, 7], Prefix())])
        batch.read()
        assert batch.token_bytes == model._token_bytes


def test_episodes_are_played_in_waves_that_memory_holds(caller: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = cases(["pocket-blackmail"], ["pressured"], range(40))
    model = LocalModel(caller)
    whole, sizes = play(grid, model, max_tokens=4), []
    generate = model.generate

    def counting(asked: Sequence[Request]) -> list[Output]:
        sizes.append(len(asked))
        return generate(asked)

    monkeypatch.setattr(model, "generate", counting)
    for kept, opened in ((20, 20), (3, 16), (1000, 40)):
        monkeypatch.setattr(model, "episodes_kept", lambda request, kept=kept: kept)
        sizes.clear()
        assert play(grid, model, max_tokens=4) == whole
        assert max(sizes) == opened


def test_more_memory_keeps_more_episodes(tiny: Path) -> None:
    [one] = requests(1)
    kept = [LocalModel(tiny, memory=memory).episodes_kept(one) for memory in (10**6, 10**7)]
    assert 0 < 9 * kept[0] <= kept[1] <= 11 * (kept[0] + 1)
    assert LocalModel(tiny, memory=0).episodes_kept(one) == LocalModel(tiny, memory=0).episodes_kept(one) > 10**9


def test_a_batch_too_large_to_read_is_halved_and_a_row_that_cannot_be_read_fails_alone(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, limit = requests(5), 2
    whole = texts(LocalModel(tiny).generate(asked))
    small = LocalModel(tiny)
    forward = small.model.forward

    def narrow(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[0] > limit:
            raise RuntimeError("not enough memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(small.model, "forward", narrow)
    assert texts(small.generate(asked)) == whole
    limit = 0
    assert {output.error for output in small.generate(asked)} == {"the model fails: not enough memory"}


def test_a_batch_that_failed_is_freed_before_its_halves_are_read(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(tiny, memory=0)
    batches: list[weakref.ref[Any]] = []
    read = RowBatch.read

    def failing(batch: RowBatch) -> torch.Tensor:
        batches.append(weakref.ref(batch))
        if len(batch._rows) > 1:
            raise RuntimeError("not enough memory")
        return read(batch)

    def watched(rows: Sequence[Any], room: int = 0) -> RowBatch:
        assert not any(batch() for batch in batches), "an earlier batch still takes memory"
        return make(rows, room)

    make = model._batch
    monkeypatch.setattr(model, "_batch", watched)
    monkeypatch.setattr(RowBatch, "read", failing)
    assert {output.finish for output in model.generate(requests(4))} == {"length"}
    assert len(batches) == 1 + 2 + 4
