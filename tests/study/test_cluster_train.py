"""Ray Train: two workers have the same losses as one process."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.core.errors import InputError
from holdfast.core.store import RunFolder
from holdfast.study.cluster import train_on_cluster
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.run import train

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from train_alone import EXAMPLES
from train_toys import write_base


def test_the_own_training_loop_is_refused_on_many_machines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only engine = 'trl'"):
        train_on_cluster(tmp_path, EXAMPLES, TrainConfig(), tmp_path / "out", 2)


@pytest.fixture
def cluster() -> Iterator[None]:
    """A cluster of this machine alone, whatever else runs on it."""
    ray = pytest.importorskip("ray")
    where = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    ray.init(address="local", num_cpus=2, include_dashboard=False, runtime_env=where)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1", "::1"])
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_workers_have_the_same_losses_as_one_process(cluster: None, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    config = TrainConfig(lr=1e-2, epochs=2, batch_tokens=256, engine="trl")
    train(base, EXAMPLES, config, tmp_path / "one")
    train_on_cluster(base, EXAMPLES, config, tmp_path / "two", workers=2)
    one, two = (RunFolder(tmp_path / name).read("metrics", StepLog) for name in ("one", "two"))
    assert [log.loss for log in two] == pytest.approx([log.loss for log in one], rel=1e-3)
