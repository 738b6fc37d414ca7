"""Gradient accumulation and packing do not change the loss, and packed documents do not attend to each other."""

from pathlib import Path

import pytest
import torch
from train_toys import model, rows, train_rows

from holdfast.core.config import load_toml
from holdfast.core.errors import ConfigError
from holdfast.train.batches import Batch, collate, split_evenly
from holdfast.train.config import TrainConfig
from holdfast.train.objective import batch_loss

SETTINGS = {"lr": 1e-2, "epochs": 2, "batch_tokens": 256}


def losses(**settings: object) -> list[float]:
    return [log.loss for log in train_rows(model(), rows(30), TrainConfig(**SETTINGS, trl=settings))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [{"gradient_accumulation_steps": 3}, {"packing": True}, {"packing": True, "gradient_accumulation_steps": 2}],
)
def test_accumulation_and_packing_leave_the_loss_unchanged(settings: dict[str, object]) -> None:
    assert losses(**settings) == pytest.approx(losses(), rel=1e-4)


def test_the_comparison_can_fail() -> None:
    assert losses(max_grad_norm=0.01) != pytest.approx(losses(), rel=1e-4)


def test_packed_documents_do_not_see_each_other() -> None:
    net, examples = model(), rows(4)
    batch = collate(examples, packed=True)
    alone = [batch_loss(net, collate([row])).item() * int(row.supervised[1:].sum()) for row in examples]
    assert batch_loss(net, batch).item() * batch.supervised == pytest.approx(sum(alone), rel=1e-4)
    # Without position ids, later documents attend to earlier ones, and the loss differs: the test can fail.
    mixed = Batch(batch.ids, batch.labels, batch.lengths)
    with torch.no_grad():
        assert batch_loss(net, mixed).item() * batch.supervised != pytest.approx(sum(alone), rel=1e-4)


def test_split_evenly_keeps_every_row() -> None:
    assert split_evenly([5, 6, 7], 2) == [[5, 6], [7]]
    assert split_evenly([5], 3) == [[5], [], []]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weight_decy = 0.1", "did you mean 'weight_decay'"),
        ("neftune_noise_alpha = 5.0", 'only engine = "trl" supports it'),
        ("gradient_accumulation_steps = 0.5", "'gradient_accumulation_steps' must be a whole number of at least 0"),
        ("packing = 1", r"'packing' must be true or false \(default false\), got"),
        ("max_grad_norm = -1.0", "'max_grad_norm' must be a number of at least 0"),
    ],
)
def test_the_loop_rejects_a_bad_setting(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(f"lr = 1e-3\n[trl]\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_toml(path, TrainConfig)
    assert caught.value.where.endswith("train.toml:2")


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "muon", "engine": "trl"},
        {"optimizer": "muon", "lora": 4},
        {"stage": "grpo", "engine": "trl"},
        {"trl": {"load_in_4bit": True}},
    ],
)
def test_incompatible_settings_are_rejected(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs"):
        TrainConfig.model_validate(settings)
