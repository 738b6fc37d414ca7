"""The loop learns, repeats itself by seed, isolates rows, and stops at a loss that is no number."""

import math

import numpy as np
import pytest
import torch
from train_toys import model, rows

from holdfast.core.errors import IncompleteError, InputError
from holdfast.train.batches import batches, collate, plan_batches
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.loop import lr_share, train_rows
from holdfast.train.objective import batch_loss


def test_the_plan_reads_each_row_once_an_epoch_and_keeps_the_budget_of_a_step() -> None:
    made, config = rows(300), TrainConfig(batch_tokens=256)
    steps = plan_batches(made, config)
    assert sorted(at for step in steps for at in step) == list(range(300))
    assert all(collate([made[at] for at in step]).ids.numel() <= 256 for step in steps)
    assert steps == plan_batches(made, config) != plan_batches(made, TrainConfig(batch_tokens=256, seed=1))


def test_rows_of_like_length_share_a_batch() -> None:
    made = rows(2000)
    padded = real = 0
    for batch in batches(made, TrainConfig(batch_tokens=1024)):
        padded, real = padded + batch.ids.numel(), real + batch.tokens
    assert real == sum(map(len, made))
    assert padded < 1.05 * real


@pytest.mark.parametrize("budget", [500, 20_000])
def test_a_token_budget_is_met_to_within_a_row(budget: int) -> None:
    made = rows(200)
    read = sum(len(made[at]) for step in plan_batches(made, TrainConfig(tokens=budget)) for at in step)
    assert budget <= read < budget + 60


def test_part_of_an_epoch() -> None:
    made = rows(200)
    read = sum(len(made[at]) for step in plan_batches(made, TrainConfig(epochs=0.5)) for at in step)
    assert abs(read - 0.5 * sum(map(len, made))) < 60


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no rows"):
        plan_batches([], TrainConfig())


def test_the_schedule_rises_and_falls() -> None:
    shares = [lr_share(step, 100, TrainConfig(warmup=0.1)) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.1, abs=1e-3)
    assert lr_share(99, 100, TrainConfig(schedule="constant")) == 1.0


def test_neither_padding_nor_neighbours_change_a_rows_loss() -> None:
    net, made = model(), rows(5)
    with torch.no_grad():
        alone = [(batch_loss(net, collate([row])).item(), int(row.supervised[1:].sum())) for row in made]
        together = batch_loss(net, collate(made)).item()
    assert together == pytest.approx(sum(loss * n for loss, n in alone) / sum(n for _, n in alone), rel=1e-5)


def test_the_head_at_supervised_positions_gives_the_models_own_loss() -> None:
    net, batch = model(), collate(rows(5))
    with torch.no_grad():
        theirs = net(input_ids=batch.ids, labels=batch.labels).loss.item()
        assert batch_loss(net, batch).item() == pytest.approx(theirs, rel=1e-5)


def test_unsupervised_tokens_are_not_learned() -> None:
    chance = np.random.default_rng(0)
    made = rows(40, share=0.0)
    for row in made:
        row.ids[:-2] = chance.integers(11, 400, len(row) - 2)
        row.ids[-2:] = (20, 21)  # the last alone is supervised
    logs = train_rows(model(), made, TrainConfig(lr=1e-2, epochs=4, batch_tokens=256))
    assert logs[-1].loss < 0.1
    assert sum(log.supervised for log in logs) == 160


def test_training_lowers_the_loss_and_repeats_itself() -> None:
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


def test_bfloat16_follows_float32_and_keeps_its_weights() -> None:
    knobs = {"lr": 1e-3, "epochs": 2, "batch_tokens": 256}
    net = model()
    low = train_rows(net, rows(20), TrainConfig(**knobs, dtype="bfloat16"))
    full = train_rows(model(), rows(20), TrainConfig(**knobs))
    assert [log.loss for log in low] == pytest.approx([log.loss for log in full], rel=0.02)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    net = model()
    with torch.no_grad():
        net.model.norm.weight[0] = math.nan
    with pytest.raises(IncompleteError, match="the loss is nan at step 1 of "):
        train_rows(net, rows(5), TrainConfig())
