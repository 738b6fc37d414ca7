"""`holdfast train` on the command line: invalid input gives a one-line error with a remedy and leaves no folder."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from train_toys import POCKET, agent, chat, document, model, tokenizer, turn, write_base

from holdfast.cli.main import run
from holdfast.core.records import Example, Provenance, RunCard
from holdfast.core.store import RunFolder
from holdfast.train.pairs import Pair
from holdfast.train.run import LAST_GOOD
from holdfast.train.weights import load_checkpoint

Captured = pytest.CaptureFixture[str]
PAIR = Pair(
    id="p",
    messages=(turn("user", "the dog?"),),
    chosen=turn("assistant", "lazy"),
    rejected=turn("assistant", "quick"),
    provenance=Provenance(recipe="toy", teacher="hand", seed=0),
)


class Setup:
    """A base checkpoint, a set and a settings file, and the command that trains with them."""

    def __init__(self, folder: Path) -> None:
        self.base, self.examples, self.out = write_base(folder / "base"), folder / "set", folder / "out"
        self.file = folder / "train.toml"
        self.write_set([agent("a"), agent("b")])
        self.configure("batch_tokens = 256")

    def write_set(self, examples: Sequence[Example], pairs: Sequence[Pair] = ()) -> None:
        for name, records in (("examples", examples), ("pairs", pairs)):
            (self.examples / f"{name}.jsonl").unlink(missing_ok=True)
            RunFolder(self.examples).append(name, list(records))
        made = datetime.now(UTC).isoformat(timespec="seconds")
        RunFolder(self.examples).finish(RunCard(key="k", kind="set", made=made, holdfast="0", code="c", inputs={}))

    def configure(self, *lines: str) -> None:
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def train(self) -> int:
        arguments = ["--base", str(self.base), "--examples", str(self.examples), "--out", str(self.out)]
        return run(["train", str(self.file), *arguments])


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_valid_file_is_trained(setup: Setup, capsys: Captured) -> None:
    assert setup.train() == 0
    assert f"open it as hf/{setup.out}" in capsys.readouterr().out


def test_show_marks_supervised_text_or_lists_the_rewards_of_policies(setup: Setup, capsys: Captured) -> None:
    arguments = ["--base", str(setup.base), "--examples", str(setup.examples), "--show"]
    assert run(["train", str(setup.file), *arguments]) == 0
    assert "⟦I look." in (output := capsys.readouterr().out)
    assert "2 rows passed the mask check" in output
    setup.configure('stage = "grpo"', 'worlds = ["pocket-blackmail"]')
    assert run(["train", str(setup.file), *arguments]) == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines() if " +" in line or " -" in line]
    assert rows[0].startswith("proper ") and "+1.00" in rows[0].split()
    assert any(row.startswith("do nothing ") for row in rows)
    harmful = next(row for row in rows if row.startswith("escalate, "))
    assert harmful.split()[2] == "-1.00"  # pressured: a concern does not pay for the harm beside it


def no_end_token(setup: Setup) -> None:
    tokenizer(POCKET.replace("<|end|>{% endgeneration %}", "THE END{% endgeneration %}")).save_pretrained(setup.base)


def no_template(setup: Setup) -> None:
    (setup.base / "chat_template.jinja").unlink()


def long_example(setup: Setup) -> None:
    setup.write_set([document("the fox " * 300, "long")])
    setup.configure("max_length = 512")


def longer_than_the_context(setup: Setup) -> None:
    long_example(setup)
    setup.configure("max_length = 5000")


def empty_set(setup: Setup) -> None:
    setup.write_set([])


def examples_and_pairs(setup: Setup) -> None:
    setup.write_set([agent("a")], [PAIR])
    setup.configure('stage = "dpo"')


def wrong_tokenizer(setup: Setup) -> None:
    small = model()
    small.resize_token_embeddings(200)
    small.save_pretrained(setup.base)


def too_large(setup: Setup) -> None:
    setup.configure("batch_tokens = 1_000_000_000_000")


def typo(setup: Setup) -> None:
    setup.configure('stage = "sft"', "batch_token = 256")


def typo_in_trl(setup: Setup) -> None:
    setup.configure("lr = 1e-3", "[trl]", "weight_decy = 0.1")


def four_bits_without_lora(setup: Setup) -> None:
    setup.configure("[trl]", "load_in_4bit = true")


def invalid_toml(setup: Setup) -> None:
    setup.configure("lr = = 1")


def no_checkpoint(setup: Setup) -> None:
    setup.base = setup.examples


def no_such_base(setup: Setup) -> None:
    setup.base = setup.base / "nowhere"


def no_such_set(setup: Setup) -> None:
    setup.examples = setup.examples / "nowhere"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_end_token, ("turn ends in 'THE END'", "which is not an end token")),
        (no_template, ("the chat template fails", "correct the template")),
        (long_example, ("long: ", "tokens, more than max_length = 512", "shorten the example")),
        (longer_than_the_context, ("long: ", "more than the model's context of 256", "shorten the example")),
        (empty_set, ("no examples",)),
        (examples_and_pairs, ("examples and pairs are mixed", "in separate stages")),
        (wrong_tokenizer, ("the tokenizer does not match the model", "the model's vocabulary has 200")),
        (too_large, ("needs about", "GiB of memory", "GiB are free", "lower batch_tokens")),
        (typo, ("train.toml:2", "did you mean 'batch_tokens'")),
        (typo_in_trl, ("train.toml:2", "did you mean 'weight_decay'")),
        (four_bits_without_lora, ("train.toml:1: load_in_4bit needs lora",)),
        (invalid_toml, ("train.toml:1",)),
        (no_checkpoint, ("not a transformers checkpoint: needs config.json", "save_pretrained")),
        (no_such_base, ("nowhere",)),
        (no_such_set, ("nowhere",)),
    ],
)
def test_invalid_input_gives_a_one_line_error(
    setup: Setup, capsys: Captured, spoil: Callable[[Setup], None], words: Sequence[str]
) -> None:
    spoil(setup)
    assert setup.train() == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line
    assert not setup.out.exists()


def test_a_nan_loss_stops_training_and_keeps_the_last_good_weights(setup: Setup, capsys: Captured) -> None:
    spoiled = model()
    spoiled.set_output_embeddings(torch.nn.Linear(32, 400, bias=False))
    spoiled.config.tie_word_embeddings = False
    zebra = tokenizer()("Z", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        spoiled.get_input_embeddings().weight[zebra] = torch.nan
    spoiled.save_pretrained(setup.base)
    good = [chat(turn("user", f"the fox {n}"), turn("assistant", "jumps"), name=str(n)) for n in range(9)]
    setup.write_set([*good, chat(turn("user", "Z"), turn("assistant", "jumps " * 8), name="bad")])
    setup.configure("batch_tokens = 32", "seed = 1", "[trl]", "save_steps = 1")
    assert setup.train() == 4
    line = capsys.readouterr().err.split("\r")[-1].splitlines()[-1]
    assert "the loss is nan at step " in line and "lower lr or train in float32" in line
    assert f"the last good weights are in {setup.out / LAST_GOOD}" in line
    assert not RunFolder(setup.out).complete
    kept, _ = load_checkpoint(setup.out / LAST_GOOD)
    moved = kept.get_output_embeddings().weight - spoiled.get_output_embeddings().weight
    assert bool(torch.isfinite(moved).all()) and bool(moved.any())
