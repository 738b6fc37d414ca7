"""A training run from a base folder to a finished folder, and each kind of failure."""

from pathlib import Path

import pytest
from safetensors import safe_open
from train_toys import agent, document, model, tokenizer

from holdfast.core.config import load_toml
from holdfast.core.errors import ConfigError, IncompleteError, InputError, MaskError, ModelError, ResultsError
from holdfast.core.records import RunCard
from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.run import train, train_key
from holdfast.train.weights import load_checkpoint

EXAMPLES = [agent("a"), agent("b"), document("the quick fox", "d")]
CONFIG = TrainConfig(lr=1e-2, epochs=4, batch_tokens=256)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def weight(folder: Path) -> list[list[float]]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return file.get_tensor("model.layers.0.self_attn.q_proj.weight").tolist()  # type: ignore[no-any-return]


def test_a_finished_folder_loads_and_records_its_inputs(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    card = train(base, EXAMPLES, CONFIG, out)
    assert RunFolder(out).card() == card
    assert card.key == train_key(base, EXAMPLES, CONFIG)
    assert card.counts["rows"] == 3
    assert card.counts["tokens"] == 4 * card.counts["row_tokens"]
    logs = RunFolder(out).read("metrics", StepLog)
    assert len(logs) == card.counts["steps"]
    assert logs[-1].loss < logs[0].loss
    again, words = load_checkpoint(out)
    assert again.config.model_type == "llama"
    assert words.chat_template == tokenizer().chat_template
    assert weight(out) != weight(base)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "| `toy` | `hand` | 3 |" in text
    assert f"{logs[-1].loss:.4f} at the last" in text
    assert str(tmp_path) not in text + (out / "manifest.json").read_text(encoding="utf-8")


def test_a_finished_training_is_not_repeated(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps: list[StepLog] = []
    card = train(base, EXAMPLES, CONFIG, out, steps.append)
    done = len(steps)
    assert train(base, EXAMPLES, CONFIG, out, steps.append) == card
    assert len(steps) == done > 0


@pytest.mark.parametrize("other", [{"seed": 1}, {"lr": 2e-2}])
def test_a_training_with_other_inputs_does_not_overwrite(base: Path, tmp_path: Path, other: dict[str, float]) -> None:
    train(base, EXAMPLES, CONFIG, tmp_path / "out")
    with pytest.raises(ResultsError, match="the result of a training with other inputs"):
        train(base, EXAMPLES, CONFIG.model_copy(update=other), tmp_path / "out")
    with pytest.raises(ResultsError, match="the result of a training with other inputs"):
        train(base, EXAMPLES[:2], CONFIG, tmp_path / "out")


def test_an_interrupted_training_restarts_and_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    straight, halted = tmp_path / "straight", tmp_path / "halted"
    train(base, EXAMPLES, CONFIG, straight)
    train(base, EXAMPLES, CONFIG, halted)
    (halted / "manifest.json").unlink()
    with (halted / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 9')
    assert isinstance(train(base, EXAMPLES, CONFIG, halted), RunCard)
    assert weight(halted) == weight(straight)
    assert len(RunFolder(halted).read("metrics", StepLog)) == len(RunFolder(straight).read("metrics", StepLog))


def test_the_key_changes_with_the_base(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    model(seed=1).save_pretrained(other)
    tokenizer().save_pretrained(other)
    assert train_key(base, EXAMPLES, CONFIG) != train_key(other, EXAMPLES, CONFIG)


def test_a_folder_that_is_not_a_checkpoint_is_rejected(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a transformers checkpoint"):
        train(tmp_path / "nothing", EXAMPLES, CONFIG, tmp_path / "out")
    (base / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be opened"):
        train(base, EXAMPLES, CONFIG, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_weights_are_rejected(base: Path, tmp_path: Path) -> None:
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot be opened"):
        train(base, EXAMPLES, CONFIG, tmp_path / "out")


def test_a_rejected_set_leaves_no_folder(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no examples"):
        train(base, [], CONFIG, tmp_path / "out")
    with pytest.raises(MaskError, match="contains the special token"):
        train(base, [document("the<|end|>fox")], CONFIG, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands where the folder should", encoding="utf-8")
    with pytest.raises(IncompleteError, match="cannot write"):
        train(base, EXAMPLES, CONFIG, tmp_path / "out")


def test_a_config_from_toml_and_one_with_a_typo(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('stage = "sft"\nlr = 0.002\ntokens = 60000\n', encoding="utf-8")
    assert load_toml(path, TrainConfig) == TrainConfig(lr=0.002, tokens=60000)
    path.write_text('stage = "sft"\nbatch_token = 5\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'batch_tokens'") as caught:
        load_toml(path, TrainConfig)
    assert caught.value.where.endswith("train.toml:2")


def test_there_are_at_most_fifteen_settings() -> None:
    assert len(TrainConfig.model_fields) <= 15
