"""Training files with one or several stages; invalid files are rejected with file and line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from train_toys import agent, document, tokenizer, write_base

from holdfast.core.errors import ConfigError, ResultsError
from holdfast.core.records import Example, RunCard
from holdfast.core.store import RunFolder
from holdfast.train.pipeline import StageInputs, load_file, run_chain
from holdfast.train.rows import make_rows
from holdfast.train.show import marked_texts, sample
from holdfast.train.weights import checkpoint_hash

CHAIN = """\
base = "somewhere"
eval_every = 5
[[stage]]
stage = "midtrain"
sets = { stories = 100 }
[[stage]]
stage = "sft"
lora = 4
examples = ["EXAMPLES"]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def build(name: str, tokens: int, seed: int, base: Path) -> list[Example]:
    return [document(f"the fox {name} {tokens}", "d")]


def refuse(worlds: object) -> object:
    raise AssertionError("no stage of this file plays episodes")


def write_set(folder: Path) -> Path:
    RunFolder(folder).append("examples", [agent("a"), agent("b")])
    made = datetime.now(UTC).isoformat(timespec="seconds")
    RunFolder(folder).finish(RunCard(key="k", kind="set", made=made, holdfast="0", code="c", inputs={}))
    return folder


def test_each_stage_starts_from_the_checkpoint_of_the_one_before(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    file = load_file(write(tmp_path / "chain.toml", CHAIN.replace("EXAMPLES", str(folder))))
    assert (file.eval_every, [stage.stage for stage in file.stage]) == (5, ["midtrain", "sft"])
    base = write_base(tmp_path / "base")
    inputs = StageInputs(build, refuse)  # type: ignore[arg-type]
    last, card = run_chain(file, base, tmp_path / "out", inputs)
    assert last == tmp_path / "out" / "2-sft"
    assert card.inputs["base"] == checkpoint_hash(tmp_path / "out" / "1-midtrain") != checkpoint_hash(base)
    assert run_chain(file, base, tmp_path / "out", inputs) == (last, card)
    (folder / "manifest.json").unlink()
    with pytest.raises(ResultsError, match="incomplete"):
        run_chain(file, base, tmp_path / "other", inputs)


def test_a_single_stage_needs_no_stage_table(tmp_path: Path) -> None:
    file = load_file(
        write(tmp_path / "one.toml", 'base = "b"\nlr = 0.002\nsets = { stories = 5 }\n[trl]\nbeta = 0.2\n')
    )
    [stage] = file.stage
    assert (file.base, stage.lr, stage.sets, stage.config.setting("beta")) == ("b", 0.002, {"stories": 5}, 0.2)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("lr = 1e-3\nbatch_token = 5\n", "did you mean 'batch_tokens'", 2),
        ("[[stage]]\nlr = 1e-3\n[[stage]]\nepoch = 2\n", "did you mean 'epochs'", 4),
        ('stage = "sftt"\n', "key 'stage'", 1),
        ("eval_every = -1\n", "key 'eval_every'", 1),
    ],
)
def test_an_invalid_file_is_rejected_with_its_line(tmp_path: Path, text: str, message: str, line: int) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_file(write(tmp_path / "wrong.toml", text))
    assert caught.value.where.endswith(f"wrong.toml:{line}")


def test_every_example_file_loads() -> None:
    files = sorted((Path(__file__).parents[2] / "examples" / "train").glob("*.toml"))
    assert {path.stem for path in files} == {"midtrain", "sft", "lora", "dpo", "grpo"}
    for path in files:
        file = load_file(path)
        assert file.base and file.out


def test_supervised_text_is_shown_in_brackets() -> None:
    rows = make_rows([agent(str(n)) for n in range(30)], tokenizer())
    assert [row.example for row in sample(rows)] == ["0", "3", "6", "10", "13", "16", "19", "23", "26", "29"]
    [text] = marked_texts(rows[:1], tokenizer())
    assert "⟦The fox jumps. Näive “quotes”?<|end|>⟧" in text
    assert text.count("⟦") == text.count("⟧") == 2
    assert "<|user|>What is new?<|end|>" in text
