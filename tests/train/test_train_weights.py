"""LoRA adapters, the memory check, and rows that do not fit the model."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from train_toys import agent, model, rows, tokenizer, write_base

from holdfast.core.errors import InputError, PrerequisiteError, StoreError
from holdfast.core.store import RunFolder
from holdfast.train import weights
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.run import train
from holdfast.train.weights import check_memory, check_rows, load_checkpoint, memory_needed, save

LORA = TrainConfig(lr=1e-2, epochs=4, batch_tokens=256, lora=4)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT uses the old attribute
def test_only_adapters_are_trained_and_peft_loads_them(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    train(base, [agent()], LORA, tmp_path / "out")
    merged, _ = load_checkpoint(tmp_path / "out")
    plain, _ = load_checkpoint(base)
    adapted = PeftModel.from_pretrained(load_checkpoint(base)[0], tmp_path / "out" / "adapter")
    ids = torch.arange(11, 31)[None]
    with torch.no_grad():
        ours, theirs, before = (net.eval()(input_ids=ids).logits for net in (merged, adapted, plain))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, before, atol=1e-3)
    assert torch.equal(merged.get_input_embeddings().weight, plain.get_input_embeddings().weight)


def test_adapters_in_bfloat16_are_trained_in_float32(tmp_path: Path) -> None:
    net, _ = load_checkpoint(write_base(tmp_path / "base"), LORA.model_copy(update={"dtype": "bfloat16"}))
    kinds = {weight.requires_grad: weight.dtype for weight in net.parameters()}
    assert kinds == {False: torch.bfloat16, True: torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT uses the old attribute
def test_adapters_over_4bit_weights(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = write_base(tmp_path / "base")
    config = LORA.model_copy(update={"epochs": 12, "trl": {"load_in_4bit": True}})
    net, _ = load_checkpoint(base, config)
    kinds = {(type(weight).__name__, weight.dtype) for name, weight in net.named_parameters() if "proj" in name}
    assert kinds == {("Params4bit", torch.uint8), ("Parameter", torch.float32)}  # 4-bit base weights, float32 adapters
    train(base, [agent()], config, tmp_path / "out")
    losses = [log.loss for log in RunFolder(tmp_path / "out").read("metrics", StepLog)]
    assert losses[-1] < losses[0] - 0.1
    merged, plain = load_checkpoint(tmp_path / "out")[0], load_checkpoint(base)[0]
    assert not hasattr(merged.config, "quantization_config")  # the merged model is saved unquantised
    adapted = PeftModel.from_pretrained(load_checkpoint(base)[0], tmp_path / "out" / "adapter")
    ids = torch.arange(11, 31)[None]
    with torch.no_grad():
        ours, theirs, before = (net.eval()(input_ids=ids).logits for net in (merged, adapted, plain))
    assert torch.allclose(ours, theirs, atol=0.05, rtol=0.05)  # precision of bfloat16 weights
    assert not torch.allclose(ours, before, atol=0.2)


def test_4bit_weights_need_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, config = write_base(tmp_path / "base"), TrainConfig(lora=4, trl={"load_in_4bit": True})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'holdfast-align\[train\]'"):
        load_checkpoint(base, config)


def test_too_little_memory_is_reported_before_the_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_base(tmp_path / "base")
    needed = memory_needed(base, TrainConfig())
    count = sum(weight.numel() for weight in model().parameters())
    assert needed > 16 * count
    assert memory_needed(base, TrainConfig(lora=4)) < needed < memory_needed(base, TrainConfig(batch_tokens=10_000))
    check_memory(base, TrainConfig())
    monkeypatch.setattr(weights, "memory_free", lambda: needed + needed // 10)
    with pytest.raises(InputError, match=r"needs about \d+\.\d GiB of memory and \d+\.\d GiB are free"):
        train(base, [agent()], TrainConfig(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_another_model_is_rejected(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    words = tokenizer()
    small = model()
    small.resize_token_embeddings(200)
    small.save_pretrained(base)
    words.save_pretrained(base)
    with pytest.raises(
        InputError, match=r"token id \d+, but the model's vocabulary has 200 tokens \(the tokenizer's has 333\)"
    ):
        train(base, [agent()], TrainConfig(), tmp_path / "out")


def test_an_example_longer_than_the_context_is_rejected(tmp_path: Path) -> None:
    net = model()
    net.config.max_position_embeddings = 8
    with pytest.raises(InputError, match="more than the model's context of 8"):
        check_rows(rows(3), net, tokenizer())


class BareTokenizer:
    """Raises a bare Exception, as the tokenizers library does on a full disk."""

    def save_pretrained(self, folder: Path) -> None:
        raise Exception("No space left on device (os error 28)")


def test_a_bare_exception_of_the_tokenizers_library_becomes_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        save(model(), BareTokenizer(), tmp_path / "out", tmp_path)  # type: ignore[arg-type]
    assert os.listdir(tmp_path / "out") == []
