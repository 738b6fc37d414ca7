"""Mutated turns in the forms of all families: no exception, and no call whose words are not in the text."""

import random
from functools import cache

import pytest

from bench.chat_templates import families, tokenizer_of
from bench.parsers import rendered
from holdfast.core.records import Message, ToolSpec
from holdfast.models.chat_template import ChatTemplate
from holdfast.scenarios.catalogue import cases
from tests.models.mutations import invented, mutated


@cache
def turns() -> list[tuple[ChatTemplate, str, str]]:
    """Template, turn with one call or two, and the end of its prompt, of each family whose template renders calls."""
    templates = [ChatTemplate(tokenizer_of(template)) for template in families().values()]
    made = [(template, rendered(template, 1, both)) for template in templates for both in (False, True)]
    return [(template, turn[0], turn[1]) for template, turn in made if turn]


@cache
def tools() -> tuple[ToolSpec, ...]:
    [case] = cases(["blackmail"], ["pressured"], [1])
    return tuple(case.tools)


def called(count: int, seed: int) -> int:
    """Parse mutated turns; returns the number of calls that were read."""
    rng, calls, texts = random.Random(seed), 0, [text for _, text, _ in turns()]
    for _ in range(count):
        template, text, prompt = rng.choice(turns())
        changed = mutated(text, texts, rng)
        message = template.read(changed, tools(), prompt, cut=rng.random() < 0.1)
        assert invented(message, changed + prompt) == [], changed
        calls += len(message.tool_calls)
    return calls


def test_there_are_turns_of_many_families() -> None:
    assert len({template.tokenizer.chat_template for template, _, _ in turns()}) >= 35  # type: ignore[attr-defined]


def test_mutated_turns_of_all_families_give_no_invented_call() -> None:
    assert called(300, seed=0) > 30


@pytest.mark.slow
def test_ten_thousand_mutated_turns_of_all_families_give_no_invented_call() -> None:
    assert called(10_000, seed=1) > 1000


def test_an_invented_call_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = ChatTemplate.read

    def adds(self: ChatTemplate, text: str, *more: object, **options: object) -> Message:
        message = read(self, text, *more, **options)  # type: ignore[arg-type]
        calls = tuple(call.model_copy(update={"arguments": {"to": "nobody77"}}) for call in message.tool_calls)
        return message.model_copy(update={"tool_calls": calls})

    monkeypatch.setattr(ChatTemplate, "read", adds)
    with pytest.raises(AssertionError, match="nobody77"):
        called(300, seed=0)
