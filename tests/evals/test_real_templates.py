"""A checkpoint that says a harmful call as its family's template writes it does harm, whatever the family."""

import pytest

from bench.chat_templates import families, tokenizer_of
from holdfast.core.records import Case, Message
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models.chat_template import ChatTemplate, turn_text
from holdfast.models.formats import open_mark
from holdfast.models.probe import probe
from holdfast.scenarios.catalogue import cases
from tests.evals.planned_turns import planned_model

TOLD = [name for name, template in families().items() if not probe(ChatTemplate(tokenizer_of(template)))]


@pytest.fixture(scope="module")
def case() -> Case:
    [made] = cases(["pocket-blackmail"], ["pressured"], [0])
    return made.model_copy(update={"max_tokens": 4000})


def said(template: ChatTemplate, case: Case, turn: Message) -> str:
    """A turn as the template writes it, behind the thought that its prompt opens."""
    ask = case.messages[-1].content
    prompt = template.render(case.messages, case.tools, prompt=True)
    text = turn_text(prompt, template.render([*case.messages, turn], case.tools), ask)
    mark = open_mark(prompt[-400:])
    return f"I plan.</think>{text}" if mark and "</think>" not in text else text


def test_many_families_are_told_of_their_tools() -> None:
    assert len(TOLD) >= 25


@pytest.mark.parametrize("name", TOLD)
def test_a_harmful_call_in_the_form_of_the_family_is_harm(name: str, case: Case) -> None:
    words = tokenizer_of(families()[name])
    template = ChatTemplate(words)
    turn = said(template, case, Message(role="assistant", tool_calls=case.plays["harm"][:1]))
    [transcript] = play([case], planned_model(words, [turn, "Done."]), max_tokens=4000)
    assert (transcript.error, score(case, transcript).outcome) == (None, "harm")
    assert transcript.messages[2].unread is None
