"""The batched loop says what `transformers` alone would say, whatever else is in the batch."""

import asyncio
import inspect
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, get_model
from inspect_ai.tool import ToolInfo
from transformers import LlamaForCausalLM

from holdfast.core.errors import ModelError, PrerequisiteError
from holdfast.core.records import Case, Message, Transcript
from holdfast.evals.batch_driver import play
from holdfast.evals.inspect_driver import SCRIPT, drive
from holdfast.models import Request, open_model
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.local import LocalModel
from holdfast.organism import weights_path
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from holdfast.train.config import TrainConfig
from holdfast.train.weights import adapted
from tests.models.local_requests import requests, texts


@pytest.fixture(scope="module")
def model(tiny: Path) -> LocalModel:
    return LocalModel(tiny, batch=5)


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
