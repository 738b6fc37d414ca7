"""The batched loop says what `transformers` alone would say, whatever else is in the batch."""

import asyncio
import inspect
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, get_model
from inspect_ai.tool import ToolInfo
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.core.records import Case, Message, Transcript
from holdfast.evals.batch_driver import play
from holdfast.evals.inspect_driver import SCRIPT, drive
from holdfast.models import Output, Request, open_model
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.local import LocalModel, _Shared
from holdfast.models.prefix_tree import Prefix
from holdfast.models.row_cache import RowBatch
from holdfast.organism import weights_path
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from holdfast.train.config import TrainConfig
from holdfast.train.weights import adapted

CALL = '<tool_call>{"name": "read_inbox", "arguments": {}}</tool_call>'


def requests(count: int, **settings: Any) -> list[Request]:
    grid = cases(["pocket-blackmail", "pocket-leaking"], ["pressured", "outlet"], range(-(-count // 4)))[:count]
    return [replace(r, **settings) for case in grid if (r := Episode(case, max_tokens=12).request()) is not None]


def texts(outputs: Sequence[Output]) -> list[str]:
    return [output.message.content for output in outputs]


@pytest.fixture(scope="module")
def model(tiny: Path) -> LocalModel:
    return LocalModel(tiny, batch=5)


@pytest.fixture(scope="module")
def caller(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, bent to open each turn with a call; what it says after that is its own."""
    folder = tmp_path_factory.mktemp("caller")
    opened = LocalModel(tiny)
    opened.tokenizer.add_tokens([CALL])
    opened.model.resize_token_embeddings(len(opened.tokenizer), mean_resizing=False)
    token = {name: opened.tokenizer.convert_tokens_to_ids(name) for name in (CALL, "<|assistant|>")}
    with torch.no_grad():
        [output] = [opened.model.get_output_embeddings().weight]
        start = opened.model.get_input_embeddings().weight[token["<|assistant|>"]]
        start.mul_(20)
        output[token[CALL]] = start
    opened.model.save_pretrained(folder)
    opened.tokenizer.save_pretrained(folder)
    return folder


def test_greedy_equals_transformers_own(model: LocalModel) -> None:
    asked = requests(8)
    for request, output in zip(asked, model.generate(asked), strict=True):
        prompt = model.tokenizer.apply_chat_template(
            message_dicts(request.messages),
            tools=tool_dicts(request.tools),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        whole = model.model.generate(**prompt, max_new_tokens=12, do_sample=False, pad_token_id=0)
        told = model.tokenizer.decode(whole[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        assert output.message.content == told.strip()
        assert output.tokens[0] == prompt["input_ids"].shape[1]


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_is_given_under_the_name_that_the_model_takes(tiny: Path, name: str) -> None:
    opened = LocalModel(tiny)
    expected, seen = texts(opened.generate(requests(3))), []
    [own] = {"cache", "past_key_values"} & set(inspect.signature(opened.model.forward).parameters)
    inside = opened.model.forward

    def forward(**given: Any) -> Any:
        seen.append({"cache", "past_key_values"} & given.keys())
        return inside(**{own if key == name else key: value for key, value in given.items()})

    as_inside = [p for p in inspect.signature(inside).parameters.values() if p.name != own]
    named = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
    forward.__signature__ = inspect.Signature([*as_inside[:-1], named, as_inside[-1]])  # type: ignore[attr-defined]
    opened.model.forward = forward  # type: ignore[method-assign]
    assert texts(LocalModel.around(opened.model, opened.tokenizer).generate(requests(3))) == expected
    assert seen and all(names == {name} for names in seen)


def test_a_forward_that_hands_everything_on_is_asked_as_the_one_above_it(tiny: Path) -> None:
    class Counting(LlamaForCausalLM):
        calls = 0

        def forward(self, input_ids: Any = None, **more: Any) -> Any:
            self.calls += 1
            return super().forward(input_ids=input_ids, **more)

    opened = LocalModel(tiny)
    model = Counting.from_pretrained(tiny)
    assert texts(LocalModel.around(model, opened.tokenizer).generate(requests(3))) == texts(
        opened.generate(requests(3))
    )
    assert model.calls > 1


def test_a_model_in_adapters_is_asked_as_the_model_inside(tiny: Path) -> None:
    opened = LocalModel(tiny)
    expected = texts(opened.generate(requests(3)))
    wrapped = adapted(opened.model, TrainConfig(lora=4))
    assert texts(LocalModel.around(wrapped, opened.tokenizer).generate(requests(3))) == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_sample_does_not_depend_on_its_batch(model: LocalModel, temperature: float) -> None:
    asked = requests(11, temperature=temperature)
    alone = [model.generate([request])[0] for request in asked]
    assert texts(model.generate(asked)) == texts(alone)
    assert texts(model.generate(asked[::-1])) == texts(alone)[::-1]
    assert len(set(texts(alone))) > 5


def test_rows_that_end_early_leave_the_others_as_they_are(tiny: Path) -> None:
    model = LocalModel(tiny, memory=0)
    asked = [replace(request, max_tokens=1 + 3 * ((7 * n) % 12)) for n, request in enumerate(requests(12))]
    # Prompts of different lengths, so that rows are padded and the padding changes when the longest row leaves.
    asked = [
        replace(request, messages=[*request.messages, Message(role="user", content="a job. " * (5 * n % 7))])
        for n, request in enumerate(asked)
    ]
    together = model.generate(asked)
    assert len({output.tokens[1] for output in together}) > 8
    assert together == [model.generate([request])[0] for request in asked]


def test_a_long_turn_outgrows_the_room_that_was_allocated(tiny: Path) -> None:
    model = LocalModel(tiny, memory=0)
    model._ends = frozenset()
    asked = [replace(request, max_tokens=600 - 320 * n) for n, request in enumerate(requests(2))]
    written: dict[str, list[int]] = {}
    model._on_turn = lambda request, _, tokens: written.update({request.case: list(tokens)})
    model.generate(asked)
    prompt = torch.tensor([model._read(asked[0])])
    model.model.generation_config.eos_token_id = None
    whole = model.model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=600, do_sample=False, pad_token_id=0
    )
    assert written[asked[0].case] == whole[0, prompt.shape[1] :].tolist()
    assert len(written[asked[1].case]) == 280


def test_sampling_follows_the_seed_and_the_temperature(model: LocalModel) -> None:
    [one] = requests(1, temperature=1.0)
    first, again, other = model.generate([one, one, replace(one, seed=99)])
    assert first == again != other
    near_zero, greedy = model.generate([replace(one, temperature=1e-6), replace(one, temperature=0.0)])
    assert near_zero == greedy


def test_sampling_follows_the_distribution(model: LocalModel) -> None:
    [one] = requests(1, temperature=1.0, max_tokens=1)
    drawn = texts(model.generate([replace(one, seed=seed) for seed in range(400)]))
    prompt = model.tokenizer.apply_chat_template(
        message_dicts(one.messages), tools=tool_dicts(one.tools), add_generation_prompt=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model.model(**prompt).logits[0, -1]
    best = int(logits.argmax())
    share = float(torch.softmax(logits, -1)[best])
    seen = drawn.count(model.tokenizer.decode([best]).strip()) / len(drawn)
    assert abs(seen - share) < 4 * (share * (1 - share) / len(drawn)) ** 0.5 + 0.01


def test_a_cut_turn_says_so_and_a_stop_ends_it(model: LocalModel, tiny: Path) -> None:
    outputs = model.generate(requests(6))
    assert {output.finish for output in outputs} == {"length"}
    assert {output.tokens[1] for output in outputs} == {12}
    early = LocalModel(tiny)
    whole = model.generate(requests(1))[0].message.content
    spoken = [early.tokenizer.decode([token]) for token in range(len(early.tokenizer))]
    first = next(token for token, text in enumerate(spoken) if text and whole.startswith(text))
    early._ends = frozenset(range(len(early.tokenizer))) - {first}
    [stopped] = early.generate(requests(1))
    assert stopped.finish == "stop"
    assert stopped.tokens[1] <= 2
    assert whole.startswith(stopped.message.content)


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


def test_episodes_are_played_to_an_end(caller: Path, model: LocalModel) -> None:
    grid = cases(["pocket-blackmail"], ["pressured"], range(7))
    assert {t.stop for t in play(grid, model, max_tokens=4)} == {"truncated"}
    transcripts = play(grid, open_model(f"hf/{caller}"), max_tokens=4)
    assert transcripts == play(grid, LocalModel(caller, memory=0), max_tokens=4)


def test_half_precision_and_identity(tiny: Path, caller: Path) -> None:
    half = LocalModel(tiny, dtype=torch.bfloat16)
    assert len(half.generate(requests(3))) == 3
    same = LocalModel(tiny)
    assert same.identity == LocalModel(tiny).identity
    assert len({same.identity, half.identity, LocalModel(caller).identity}) == 3


def test_a_conversation_the_template_refuses_costs_itself_only(model: LocalModel, tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "strict")
    template = (folder / "chat_template.jinja").read_text()
    strict = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('system first') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(strict + template)
    good, bad = requests(1)[0], Request("case", (Message(role="user", content="hi"),), max_tokens=3)
    first, second, third = LocalModel(folder).generate([good, bad, good])
    assert (first.finish, second.finish, third.finish) == ("length", "error", "length")
    assert "system first" in str(second.error)
    assert first == third == model.generate([good])[0]


def test_the_organism_is_a_checkpoint_like_any_other(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_path, "WEIGHTS", tmp_path)
    with pytest.raises(PrerequisiteError, match=r"organism\.sh"):
        open_model("organism/pocket")
    with pytest.raises(ModelError, match="unknown organism 'big'"):
        open_model("organism/big")
    shutil.copytree(tiny, tmp_path / "pocket")
    opened = open_model("organism/pocket")
    assert (opened.name, opened.identity) == ("organism/pocket", LocalModel(tiny).identity)


@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_the_organism_says_the_same_through_inspect(
    caller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_path, "WEIGHTS", tmp_path)
    shutil.copytree(caller, tmp_path / "pocket")
    grid = cases(["pocket-blackmail"], ["pressured", "routine"], range(3))
    model = get_model("organism/pocket", config=GenerateConfig(max_tokens=6), memoize=False)

    async def one(case: Case) -> Transcript:
        async def ask(messages: list[ChatMessage], tools: list[ToolInfo]) -> ModelOutput:
            messages[0].metadata = {SCRIPT: {"case": case.id, "seed": case.seed}}
            return await model.generate(messages, tools=tools)

        played = Episode(case, max_tokens=6)
        await drive(played, ask)
        return played.transcript()

    async def all_at_once() -> list[Transcript]:
        return list(await asyncio.gather(*(one(case) for case in grid)))

    assert asyncio.run(all_at_once()) == play(grid, open_model("organism/pocket"), max_tokens=6)


def test_what_is_no_checkpoint_is_one_clear_line(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a checkpoint: no config.json"):
        open_model(f"hf/{tmp_path}")
    broken = shutil.copytree(tiny, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_model(f"hf/{broken}")
    mute = shutil.copytree(tiny, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        open_model(f"hf/{mute}")


def test_a_conversation_longer_than_the_context_is_an_error_of_its_own(model: LocalModel) -> None:
    asked = requests(3)
    long = replace(asked[1], messages=[Message(role="user", content="the cat and the hat " * 4000)])
    first, second, third = model.generate([asked[0], long, asked[2]])
    assert second.finish == "error" and "tokens and the model reads" in str(second.error)
    assert texts([first, third]) == texts(model.generate([asked[0], asked[2]]))


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
