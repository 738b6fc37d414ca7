"""The TRL engine and the loop engine have the same loss at every step on the same batches."""

import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys

import pytest
import torch
from train_toys import model, rows, tokenizer, train_rows

from holdfast.core.errors import ConfigError, PrerequisiteError
from holdfast.train.config import TrainConfig
from holdfast.train.loop import Hooks
from holdfast.train.trl_engine import _settings, train_with_trl

CONFIG = TrainConfig(lr=1e-2, epochs=3, batch_tokens=256, trl={"weight_decay": 0.1, "max_grad_norm": 0.5})


@pytest.mark.slow
def test_the_loop_and_trl_have_the_same_loss_at_every_step() -> None:
    ours, theirs = model(), model()
    here = train_rows(ours, rows(20), CONFIG)
    there = train_with_trl(theirs, tokenizer(), rows(20), CONFIG, Hooks())
    assert len(here) == len(there) > 5
    for a, b in zip(here, there, strict=True):
        assert (a.step, a.steps, a.tokens, a.supervised) == (b.step, b.steps, b.tokens, b.supervised)
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
        assert a.lr == pytest.approx(b.lr, rel=1e-6)
        assert a.norm == pytest.approx(b.norm, rel=1e-3)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


@pytest.mark.slow
def test_the_comparison_can_fail() -> None:
    here = train_rows(model(), rows(20), CONFIG)
    there = train_with_trl(
        model(),
        tokenizer(),
        rows(20),
        CONFIG.model_copy(update={"trl": {"weight_decay": 0.1, "max_grad_norm": 5.0}}),
        Hooks(),
    )
    assert here[0].loss == pytest.approx(there[0].loss, rel=1e-4)
    assert here[-1].loss != pytest.approx(there[-1].loss, rel=1e-4)


def test_a_missing_trl_gives_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def hide(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
        return None if name == "trl" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", hide)
    with pytest.raises(PrerequisiteError, match="trl is not installed") as caught:
        train_with_trl(model(), tokenizer(), rows(2), CONFIG, Hooks())
    assert caught.value.remedy == "pip install 'holdfast-align[train]'"


def test_the_loop_does_not_load_trl() -> None:
    code = "import sys, holdfast.train.run; sys.exit(any(m in sys.modules for m in ('trl', 'datasets', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_stps": 3}, "SFTConfig has no setting 'warmup_stps'"),
        ({"per_device_train_batch_size": 8}, "is set by Holdfast and cannot be overridden"),
        ({"optim": "no such optimizer"}, "TRL rejects the settings"),
    ],
)
def test_settings_are_checked_by_trl_before_training(settings: dict[str, object], message: str) -> None:
    config = TrainConfig(engine="trl", trl=settings)
    with pytest.raises(ConfigError, match=message):
        train_with_trl(model(), tokenizer(), rows(4), config, Hooks())


@pytest.mark.slow
def test_trl_never_flattens_a_batch_or_lets_documents_mix() -> None:
    """TRL's packing is slow without fused attention or lets documents mix, so TRL receives one part at a time."""
    settings = _settings(importlib.import_module("trl").SFTConfig, model(), TrainConfig(engine="trl"), 10, "unused")
    assert (settings.per_device_train_batch_size, settings.packing, settings.padding_free) == (1, False, False)
    assert settings.report_to in ([], "none")
