"""The training loop learns, is reproducible, isolates rows from each other, and stops at a NaN loss."""

import math

import numpy as np
import pytest
import torch
from train_toys import model, rows, train_rows
from transformers import AutoConfig, AutoModelForCausalLM

from holdfast.core.errors import IncompleteError, InputError
from holdfast.train.batches import collate, plan_batches
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.loop import lr_share
from holdfast.train.objective import batch_loss


def test_the_plan_reads_each_row_once_per_epoch_within_batch_tokens() -> None:
    examples, config = rows(300), TrainConfig(batch_tokens=256)
    steps = plan_batches(examples, config)
    assert sorted(at for step in steps for at in step) == list(range(300))
    assert all(collate([examples[at] for at in step]).ids.numel() <= 256 for step in steps)
    assert steps == plan_batches(examples, config) != plan_batches(examples, TrainConfig(batch_tokens=256, seed=1))


def test_rows_of_similar_length_share_a_batch() -> None:
    examples = rows(2000)
    padded = real = 0
    for step in plan_batches(examples, TrainConfig(batch_tokens=1024)):
        batch = collate([examples[index] for index in step])
        padded, real = padded + batch.ids.numel(), real + batch.tokens
    assert real == sum(map(len, examples))
    assert padded < 1.05 * real


@pytest.mark.parametrize("budget", [500, 20_000])
def test_a_token_budget_is_met_to_within_a_row(budget: int) -> None:
    examples = rows(200)
    read = sum(len(examples[at]) for step in plan_batches(examples, TrainConfig(tokens=budget)) for at in step)
    assert budget <= read < budget + 60


def test_a_fraction_of_an_epoch() -> None:
    examples = rows(200)
    read = sum(len(examples[at]) for step in plan_batches(examples, TrainConfig(epochs=0.5)) for at in step)
    assert abs(read - 0.5 * sum(map(len, examples))) < 60


def test_an_empty_set_of_rows_is_rejected() -> None:
    with pytest.raises(InputError, match="no rows"):
        plan_batches([], TrainConfig())


def test_the_schedule_rises_and_falls() -> None:
    shares = [lr_share(step, 100, TrainConfig(warmup=0.1)) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.1, abs=1e-3)
    assert lr_share(99, 100, TrainConfig(schedule="constant")) == 1.0


def test_padding_and_batching_do_not_change_a_rows_loss() -> None:
    net, examples = model(), rows(5)
    with torch.no_grad():
        alone = [(batch_loss(net, collate([row])).item(), int(row.supervised[1:].sum())) for row in examples]
        together = batch_loss(net, collate(examples)).item()
    assert together == pytest.approx(sum(loss * n for loss, n in alone) / sum(n for _, n in alone), rel=1e-5)


def test_batch_loss_equals_the_models_own_loss() -> None:
    net, batch = model(), collate(rows(5))
    with torch.no_grad():
        theirs = net(input_ids=batch.ids, labels=batch.labels).loss.item()
        assert batch_loss(net, batch).item() == pytest.approx(theirs, rel=1e-5)


SMALL = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
#: Families that treat logits differently after the head, or have no output head of the usual kind.
FAMILIES = {
    "llama": {},
    "gemma2": {"final_logit_softcapping": 3.0, "sliding_window": 16},
    "granite": {"logits_scaling": 7.0},
    "cohere": {"logit_scale": 0.3},
    "phi3": {},
    "qwen3": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "mamba": {},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_runs_on_supervised_positions_only_in_every_family(family: str) -> None:
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL, **FAMILIES[family])).eval()
    batch, seen = collate(rows(5)), []
    net.get_output_embeddings().register_forward_hook(lambda *args: seen.append(args[2].shape[:-1].numel()))
    theirs = net(input_ids=batch.ids, labels=batch.labels).loss
    ours = batch_loss(net, batch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert seen == [batch.ids.numel(), batch.supervised]
    for loss in (theirs, ours):
        net.zero_grad()
        loss.backward()
        gradients = [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]
        if loss is theirs:
            expected = gradients
    for gradient, reference in zip(gradients, expected, strict=True):
        assert torch.allclose(gradient, reference, atol=1e-5)


def test_unsupervised_tokens_are_not_learned() -> None:
    rng = np.random.default_rng(0)
    examples = rows(40, share=0.0)
    for row in examples:
        row.ids[:-2] = rng.integers(11, 400, len(row) - 2)
        row.ids[-2:] = (20, 21)  # only the last token is supervised
    logs = train_rows(model(), examples, TrainConfig(lr=1e-2, epochs=4, batch_tokens=256))
    assert logs[-1].loss < 0.1
    assert sum(log.supervised for log in logs) == 160


def test_training_lowers_the_loss_and_is_reproducible() -> None:
    config = TrainConfig(lr=1e-2, epochs=10, batch_tokens=256)
    seen: list[StepLog] = []
    first, second = model(), model()
    logs = train_rows(first, rows(30), config, seen.append)
    again = train_rows(second, rows(30), config)
    assert seen == logs
    assert logs[-1].loss < logs[0].loss - 0.3
    assert [log.loss for log in logs] == [log.loss for log in again]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not first.training


def test_bfloat16_loss_follows_float32_and_weights_stay_float32() -> None:
    settings = {"lr": 1e-3, "epochs": 2, "batch_tokens": 256}
    net = model()
    low = train_rows(net, rows(20), TrainConfig(**settings, dtype="bfloat16"))
    full = train_rows(model(), rows(20), TrainConfig(**settings))
    assert [log.loss for log in low] == pytest.approx([log.loss for log in full], rel=0.02)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


def test_a_nan_loss_stops_training() -> None:
    net = model()
    with torch.no_grad():
        net.model.norm.weight[0] = math.nan
    with pytest.raises(IncompleteError, match="the loss is nan at step 1 of "):
        train_rows(net, rows(5), TrainConfig())
