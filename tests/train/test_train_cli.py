"""`holdfast train` as it is typed: wrong input is one clear line, with what to do, and leaves no finished folder."""

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


class Desk:
    """A base, a set and a file of knobs, and the command that trains with them."""

    def __init__(self, folder: Path) -> None:
        self.base, self.told, self.out = write_base(folder / "base"), folder / "set", folder / "out"
        self.file = folder / "train.toml"
        self.teach([agent("a"), agent("b")])
        self.set("batch_tokens = 256")

    def teach(self, examples: Sequence[Example], pairs: Sequence[Pair] = ()) -> None:
        for name, records in (("examples", examples), ("pairs", pairs)):
            (self.told / f"{name}.jsonl").unlink(missing_ok=True)
            RunFolder(self.told).append(name, list(records))
        made = datetime.now(UTC).isoformat(timespec="seconds")
        RunFolder(self.told).finish(RunCard(key="k", kind="set", made=made, holdfast="0", code="c", inputs={}))

    def set(self, *lines: str) -> None:
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def train(self) -> int:
        named = ["--base", str(self.base), "--examples", str(self.told), "--out", str(self.out)]
        return run(["train", str(self.file), *named])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_right_is_trained(desk: Desk, capsys: Captured) -> None:
    assert desk.train() == 0
    assert f"open it as hf/{desk.out}" in capsys.readouterr().out


def test_show_marks_what_is_supervised_or_lists_what_a_world_pays(desk: Desk, capsys: Captured) -> None:
    named = ["--base", str(desk.base), "--examples", str(desk.told), "--show"]
    assert run(["train", str(desk.file), *named]) == 0
    assert "⟦I look." in (told := capsys.readouterr().out)
    assert "2 rows have passed the gate" in told
    desk.set('stage = "grpo"', 'worlds = ["pocket-blackmail"]')
    assert run(["train", str(desk.file), *named]) == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines() if " +" in line or " -" in line]
    assert rows[0].startswith("proper ") and rows[-1].startswith("escalate, ")
    assert any(row.startswith("do nothing ") for row in rows)


def no_end_token(desk: Desk) -> None:
    tokenizer(POCKET.replace("<|end|>{% endgeneration %}", "THE END{% endgeneration %}")).save_pretrained(desk.base)


def no_template(desk: Desk) -> None:
    (desk.base / "chat_template.jinja").unlink()


def long_example(desk: Desk) -> None:
    desk.teach([document("the fox " * 300, "long")])
    desk.set("max_length = 512")


def longer_than_the_context(desk: Desk) -> None:
    long_example(desk)
    desk.set("max_length = 5000")


def nothing(desk: Desk) -> None:
    desk.teach([])


def mixed(desk: Desk) -> None:
    desk.teach([agent("a")], [PAIR])
    desk.set('stage = "dpo"')


def anothers_tokenizer(desk: Desk) -> None:
    small = model()
    small.resize_token_embeddings(200)
    small.save_pretrained(desk.base)


def too_large(desk: Desk) -> None:
    desk.set("batch_tokens = 1_000_000_000_000")


def typo(desk: Desk) -> None:
    desk.set('stage = "sft"', "batch_token = 256")


def typo_of_trl(desk: Desk) -> None:
    desk.set("lr = 1e-3", "[trl]", "weight_decy = 0.1")


def four_bits_alone(desk: Desk) -> None:
    desk.set("[trl]", "load_in_4bit = true")


def no_toml(desk: Desk) -> None:
    desk.set("lr = = 1")


def no_checkpoint(desk: Desk) -> None:
    desk.base = desk.told


def no_such_base(desk: Desk) -> None:
    desk.base = desk.base / "nowhere"


def no_such_set(desk: Desk) -> None:
    desk.told = desk.told / "nowhere"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_end_token, ("a turn ends in 'THE END'", "use a template with an end token")),
        (no_template, ("the chat template fails", "mend the template")),
        (long_example, ("long: ", "tokens, more than max_length = 512", "shorten the example")),
        (longer_than_the_context, ("long: ", "more than the model's context of 256", "shorten the example")),
        (nothing, ("no examples",)),
        (mixed, ("examples and pairs are mixed", "stages of their own")),
        (anothers_tokenizer, ("the tokenizer does not match the model", "the model has 200")),
        (too_large, ("needs about", "GiB of memory", "GiB are free", "a smaller batch_tokens")),
        (typo, ("train.toml:2", "did you mean 'batch_tokens'")),
        (typo_of_trl, ("train.toml:2", "did you mean 'weight_decay'")),
        (four_bits_alone, ("train.toml:1: load_in_4bit needs lora",)),
        (no_toml, ("train.toml:1",)),
        (no_checkpoint, ("not a transformers checkpoint: needs config.json", "save_pretrained")),
        (no_such_base, ("nowhere",)),
        (no_such_set, ("nowhere",)),
    ],
)
def test_wrong_input_is_one_line(
    desk: Desk, capsys: Captured, spoil: Callable[[Desk], None], words: Sequence[str]
) -> None:
    spoil(desk)
    assert desk.train() == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line
    assert not desk.out.exists()


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(desk: Desk, capsys: Captured) -> None:
    spoiled = model()
    spoiled.set_output_embeddings(torch.nn.Linear(32, 400, bias=False))
    spoiled.config.tie_word_embeddings = False
    zebra = tokenizer()("Z", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        spoiled.get_input_embeddings().weight[zebra] = torch.nan
    spoiled.save_pretrained(desk.base)
    good = [chat(turn("user", f"the fox {n}"), turn("assistant", "jumps"), name=str(n)) for n in range(9)]
    desk.teach([*good, chat(turn("user", "Z"), turn("assistant", "jumps " * 8), name="bad")])
    desk.set("batch_tokens = 32", "seed = 1", "[trl]", "save_steps = 1")
    assert desk.train() == 4
    line = capsys.readouterr().err.split("\r")[-1].splitlines()[-1]
    assert "the loss is nan at step " in line and "lower lr or train in float32" in line
    assert f"the last good weights are in {desk.out / LAST_GOOD}" in line
    assert not RunFolder(desk.out).complete
    kept, _ = load_checkpoint(desk.out / LAST_GOOD)
    moved = kept.get_output_embeddings().weight - spoiled.get_output_embeddings().weight
    assert bool(torch.isfinite(moved).all()) and bool(moved.any())
