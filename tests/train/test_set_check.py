"""A set that a checkpoint's chat template cannot show is refused by the set's name, with what to do."""

from typing import Any, cast

import pytest
from train_families import FAMILIES, family_tokenizer
from train_toys import tokenizer

from holdfast.core.errors import InputError, MaskError
from holdfast.core.records import Example, Message, Provenance, ToolCall, ToolSpec
from holdfast.train.config import TrainConfig
from holdfast.train.run import prepare

READ = ToolSpec(name="read_mail", description="Reads a mail.", parameters={"id": "its number"})
CALL = ToolCall(id="1", name="read_mail", arguments={"id": "3"})


def made(recipe: str, *messages: Message, tools: tuple[ToolSpec, ...] = ()) -> Example:
    origin = Provenance(recipe=recipe, teacher="hand", seed=0)
    return Example(id=f"id-{recipe}", kind="chat", messages=messages, tools=tools, provenance=origin)


def talk(recipe: str, answer: str = "the quick fox") -> Example:
    return made(recipe, Message(role="user", content="lazy dog"), Message(role="assistant", content=answer))


def work(recipe: str) -> Example:
    return made(
        recipe,
        Message(role="user", content="Read."),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="Anna", tool_call_id="1"),
        Message(role="assistant", content="Anna."),
        tools=(READ,),
    )


def refused(examples: list[Example], words: Any, config: TrainConfig | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        prepare(examples, cast(Any, None), words, config or TrainConfig())
    return caught.value


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.tools])
def test_sets_with_tools_are_named_where_the_template_is_for_chat_only(name: str) -> None:
    error = refused([talk("plain-chat"), work("honeypot"), work("tool-episodes")], family_tokenizer(name))
    assert isinstance(error, MaskError)
    assert "chat template shows no tool calls" in error.what
    assert "the sets 'honeypot', 'tool-episodes' hold them" in error.what
    assert "plain-chat" not in str(error)
    assert "leave the sets 'honeypot', 'tool-episodes' out" in error.remedy
    assert "chat template shows tool calls" in error.remedy


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.tools])
def test_a_template_that_shows_tools_gets_past(name: str) -> None:
    # The next thing that is looked at is the model, and there is none.
    with pytest.raises(AttributeError):
        prepare([work("tool-episodes")], cast(Any, None), family_tokenizer(name), TrainConfig())


def test_what_is_wrong_with_one_example_names_its_set() -> None:
    error = refused([talk("stories"), talk("values-qa", "the<|end|>fox")], tokenizer())
    assert error.what.startswith("set 'values-qa': ")
    assert error.where == "id-values-qa"
    assert "or leave the set 'values-qa' out" in error.remedy
    long = refused([talk("stories", "fox " * 400)], tokenizer(), TrainConfig(max_length=64))
    assert long.what.startswith("set 'stories': ") and "more than max_length = 64" in long.what


def test_a_template_that_refuses_a_conversation_names_the_set() -> None:
    system = made("deliberation", Message(role="system", content="Be."), *talk("x").messages)
    error = refused([system], tokenizer("{{ raise_exception('no system role') }}"))
    assert str(error).startswith("id-deliberation: set 'deliberation': the chat template fails: no system role")
