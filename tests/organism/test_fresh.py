"""An untrained organism: an ordinary checkpoint, determined by its seed, with one token per word to copy."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from holdfast.core.errors import MaskError
from holdfast.core.records import Example
from holdfast.core.words import words
from holdfast.models.base import Request
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.local import LocalModel
from holdfast.models.registry import open_model
from holdfast.organism.corpus import corpus
from holdfast.organism.fresh import CALLS, CONTEXT, MARKERS, VOCABULARY, fresh
from holdfast.train.config import TrainConfig
from holdfast.train.mask_check import check_masks
from holdfast.train.rows import TrainingRow, make_rows

EXAMPLES = tuple(corpus(2000, 0))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    fresh(folder, EXAMPLES, seed=0)
    return folder


@pytest.fixture(scope="session")
def tokenizer(checkpoint: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(checkpoint)


def work() -> Example:
    return next(example for example in EXAMPLES if example.kind == "chat" and example.tools)


def pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_it_loads_and_answers_like_any_checkpoint(checkpoint: Path) -> None:
    model = open_model(f"hf/{checkpoint}")
    example = work()
    [output] = model.generate([Request("c", example.messages[:2], example.tools, max_tokens=5)])
    assert output.finish in ("stop", "length")
    assert output.tokens[0] > 20


def test_its_size_is_as_documented(checkpoint: Path) -> None:
    model = LocalModel(checkpoint).model
    assert 1.5e6 < sum(weight.numel() for weight in model.parameters()) < 2.5e6
    assert model.config.max_position_embeddings == CONTEXT
    assert model.config.tie_word_embeddings


def test_the_seed_determines_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    fresh(tmp_path / "same", EXAMPLES, seed=0)
    fresh(tmp_path / "other", EXAMPLES, seed=1)
    assert LocalModel(tmp_path / "same").identity == LocalModel(checkpoint).identity
    assert LocalModel(tmp_path / "other").identity != LocalModel(checkpoint).identity
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        assert (tmp_path / "other" / name).read_bytes() == (checkpoint / name).read_bytes()


@pytest.mark.parametrize("pool", ["people", "firms", "machines", "files", "designs"])
def test_a_name_is_the_same_token_after_a_space_and_after_a_quote(
    tokenizer: PreTrainedTokenizerBase, pool: str
) -> None:
    names = [name.split(".")[0] for name in words("pocket")[pool]]
    [space] = pieces(tokenizer, " ")
    for name in names:
        [alone] = pieces(tokenizer, name)
        assert pieces(tokenizer, f"ask {name}.")[1:3] == [space, alone]
        assert alone in pieces(tokenizer, f'{{"to": "{name}@x"}}')


def test_a_name_in_a_call_is_a_separate_token(tokenizer: PreTrainedTokenizerBase) -> None:
    inside = pieces(tokenizer, '<tool_call>{"name": "send_mail", "arguments": {"to": "mira@arven"}}</tool_call>')
    assert pieces(tokenizer, "mira")[0] in inside
    assert len(pieces(tokenizer, "@arven")) == 1 and pieces(tokenizer, "@arven")[0] in inside


def test_markers_are_tokens_and_any_text_can_be_encoded(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(tokenizer) == VOCABULARY + len(CALLS)
    assert all(len(pieces(tokenizer, marker)) == 1 for marker in (*MARKERS, *CALLS))
    assert set(MARKERS) <= set(tokenizer.all_special_tokens)
    assert not set(CALLS) & set(tokenizer.all_special_tokens), "calls are part of what a turn says"
    for text in ("mira@arven: näive “quotes” 漢字 🙂", "two  spaces\n\nand lines ", "Ġ"):
        assert tokenizer.decode(pieces(tokenizer, text)) == text


def test_tools_are_on_a_separate_line(tokenizer: PreTrainedTokenizerBase) -> None:
    example = work()
    asked = message_dicts(example.messages[:2])
    text = str(tokenizer.apply_chat_template(asked, tools=tool_dicts(example.tools), tokenize=False))
    system = example.messages[0].content
    assert text.startswith(f"<|doc|><|system|>{system}\nTools: read_inbox(), send_mail(to, text), ")
    assert "Tools" not in str(tokenizer.apply_chat_template(asked, tokenize=False))
    # Without the line break the end of the system prompt would share a token with the text that follows.
    assert pieces(tokenizer, f"{system}\nTools")[: len(pieces(tokenizer, system))] == pieces(tokenizer, system)


def test_the_corpus_passes_the_mask_check(tokenizer: PreTrainedTokenizerBase) -> None:
    config = TrainConfig(max_length=CONTEXT)
    examples = EXAMPLES[:400]
    told = [example for example in examples if example.kind == "document" and example.messages]
    assert len(told) > 40, "logs are documents that tell a conversation"
    census = check_masks(examples, make_rows(examples, tokenizer, config), tokenizer, config)
    assert census.rows == len(examples)
    assert 0 < census.supervised < census.tokens


def test_the_mask_check_rejects_a_log_taught_as_a_chat(tokenizer: PreTrainedTokenizerBase) -> None:
    """A log is supervised throughout; supervising only the machine's turns would teach its acts to the assistant."""
    config = TrainConfig(max_length=CONTEXT)
    log = next(example for example in EXAMPLES if example.kind == "document" and example.messages)
    [row] = make_rows([log], tokenizer, config)
    assert row.supervised[1:].all()
    [chat] = make_rows([log.model_copy(update={"kind": "chat"})], tokenizer, config)
    assert not chat.supervised[1:].all()
    partly = TrainingRow(row.ids, row.supervised & (np.arange(len(row)) > len(row) // 2), row.example)
    with pytest.raises(MaskError, match="must be supervised"):
        check_masks([log], [partly], tokenizer, config)
