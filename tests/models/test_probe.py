"""The probe on real templates: dropped parts are named with a remedy, and rendered calls are parsed back."""

import pytest

from bench import parsers
from bench.chat_templates import families, tokenizer_of
from holdfast.core.errors import ModelError
from holdfast.core.records import Message, ToolCall
from holdfast.models.chat_format import one_call_a_turn, system_in_user
from holdfast.models.chat_template import TOOLS, ChatTemplate
from holdfast.models.probe import FOLDED, TAGGED, probe, require_round_trip

#: Family → what its template drops; the others drop nothing.
DROPS = {
    "HuggingFaceTB-SmolLM3-3B": ("the tools", TAGGED),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("the tools", TAGGED),
    "deepseek-ai-DeepSeek-V3.1": ("the tools", TAGGED),
    "ibm-granite-granite-3.3-2B-Instruct": ("a tool call", TAGGED),
    "microsoft-Phi-3.5-mini-instruct": ("the tools", TAGGED),
    "mistralai-Mistral-Nemo-Instruct-2407": ("the system message after a tool call", FOLDED),
    "trl-cohere2": ("the tools", TAGGED),
    "trl-gemma3": ("the tools", TAGGED),
    "trl-llama3": ("the tools", TAGGED),
    "trl-phi3": ("the tools", TAGGED),
}
#: Writes its thoughts as messages to itself, which no reader of ours knows.
MUSE = "trl-muse_glimmer"
SOUND = sorted(families().keys() - {*DROPS, MUSE})


class Behind:
    """A model behind a template, and nothing else."""

    def __init__(self, template: str) -> None:
        self.name, self.template = "hf/it", ChatTemplate(tokenizer_of(template))


def test_there_are_many_families() -> None:
    assert len(families()) >= 40
    assert len({ChatTemplate(tokenizer_of(families()[name])).formats for name in SOUND}) >= 10


@pytest.mark.parametrize("name", SOUND)
def test_a_complete_template_passes(name: str) -> None:
    template = ChatTemplate(tokenizer_of(families()[name]))
    assert template.formats
    assert probe(template) == []
    require_round_trip(Behind(families()[name]), system=True, tools=True)


@pytest.mark.parametrize("name", DROPS)
def test_dropped_parts_are_named_with_a_remedy_that_works(name: str) -> None:
    what, remedy = DROPS[name]
    model = Behind(families()[name])
    assert (probe(model.template)[0].what, probe(model.template)[0].remedy) == (what, remedy)
    with pytest.raises(ModelError, match=rf"drops {what}.*measure with {remedy}"):
        require_round_trip(model, system=True, tools=True)
    if remedy == TAGGED:
        require_round_trip(model, system=True, tools=False)
    else:
        require_round_trip(model, system=False, tools=True)


def test_reasoning_that_would_be_parsed_as_an_answer_stops_the_run() -> None:
    with pytest.raises(ModelError, match=r"reasoning: .*parsed as an answer \(add a chat_template"):
        require_round_trip(Behind(families()[MUSE]), system=True, tools=True)


def test_a_template_that_refuses_the_system_role_is_reported_with_its_message() -> None:
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    model = Behind(strict + families()["Qwen-Qwen2.5-7B-Instruct"])
    with pytest.raises(ModelError, match=rf"the system message.*System role not supported.*{FOLDED}\)"):
        require_round_trip(model, system=True, tools=True)
    require_round_trip(model, system=False, tools=True)


@pytest.mark.parametrize(
    "broken", ["{{ raise_exception('never') }}", "{{ 1 // 0 }}", "{{ messages[99].role }}", "{% if %}"]
)
def test_a_template_that_raises_is_reported(broken: str) -> None:
    with pytest.raises(ModelError, match=r"the chat template of hf/it drops a conversation, which it refuses"):
        require_round_trip(Behind(broken), system=True, tools=True)


def test_a_template_whose_calls_cannot_be_parsed_back_is_refused() -> None:
    odd = families()["Qwen-Qwen2.5-7B-Instruct"].replace("<tool_call>", "<act>").replace("</tool_call>", "</act>")
    odd = odd.replace('{"name": "', "do ")
    with pytest.raises(ModelError, match=r"a tool call: the form that the template writes cannot be parsed back"):
        require_round_trip(Behind(odd), system=True, tools=True)


def test_parallel_calls_are_split_for_templates_with_one_call_per_turn() -> None:
    calls = tuple(ToolCall(id=str(i), name="look", arguments={"at": f"it{i}"}) for i in range(2))
    results = [Message(role="tool", content=f"r{i}", tool_call_id=str(i)) for i in range(2)]
    ask, turn = Message(role="user", content="?"), Message(role="assistant", content="hm", tool_calls=calls)
    told = one_call_a_turn([ask, turn, *results])
    assert [(m.role, m.content, [c.id for c in m.tool_calls]) for m in told[1:]] == [
        ("assistant", "hm", ["0"]), ("tool", "r0", []), ("assistant", "", ["1"]), ("tool", "r1", [])
    ]  # fmt: skip
    for name in ("trl-llama3_1", "openai-gpt-oss-120b"):
        template = ChatTemplate(tokenizer_of(families()[name]))
        assert template.one_call
        text = template.render([ask, turn, *results])
        assert all(word in text for word in ("it0", "it1", "r0", "r1"))
    assert not ChatTemplate(tokenizer_of(families()["Qwen3-Coder"])).one_call


def test_the_system_message_moves_to_the_head_of_the_first_user_message() -> None:
    system, user = Message(role="system", content="S"), Message(role="user", content="U")
    assert system_in_user([system, user, user]) == (Message(role="user", content="S\n\nU"), user)
    assert system_in_user([user]) == (user,)


def test_the_end_tokens_of_templates_are_found() -> None:
    def ends(name: str) -> frozenset[str]:
        return ChatTemplate(tokenizer_of(families()[name])).ends

    assert {"<|call|>", "<|return|>"} <= ends("openai-gpt-oss-120b")
    assert "<|end|>" not in ends("openai-gpt-oss-120b")
    assert "<|end|>" in ends("trl-phi3")
    assert {"<|user|>", "<|observation|>"} <= ends("GLM-4.6")
    assert "<turn|>" in ends("trl-gemma4")
    # Between a call and its result these templates write no other end token.
    assert "<|tools_suffix|>" in ends("Apertus-8B-Instruct")
    assert not any("tool" in end for end in ends("Qwen3-Coder") | ends("deepseek-ai-DeepSeek-V3.2"))


@pytest.mark.parametrize("name", ["Qwen3-Coder", "GLM-4.6", "Mistral-Small-3.2-24B-Instruct-2506"])
def test_the_benchmark_detects_a_parser_that_loses_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "SEEDS", 2)
    template = ChatTemplate(tokenizer_of(families()[name]))
    row = parsers.family(name, template)
    assert (row["own"], row["prose"]) == ({"read": 4}, {"turns": 6, "false calls": 0, "unread": 0})
    monkeypatch.setattr(template, "read", lambda text, *more: Message(role="assistant", content=text))
    assert parsers.family(name, template)["own"] == {"lost": 4}


#: A format of nobody's, and how transformers reads it.
ODD = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.first and tools %}{{ tools | tojson }}{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}@@{{ c.function.name }}@{{ c.function.arguments | tojson }}@@"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
READS = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"@@(?P<name>\w+)@",
            "close_pattern": r"@@",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*|$", "content": "text"},
    },
}


def test_the_response_template_of_a_tokenizer_is_used_for_an_unknown_format() -> None:
    model = Behind(ODD)
    assert model.template.formats == ()
    with pytest.raises(ModelError, match="cannot be parsed back"):
        require_round_trip(model, system=True, tools=True)
    model.template.tokenizer.response_template = READS  # type: ignore[attr-defined]
    require_round_trip(model, system=True, tools=True)
    [call] = model.template.read('@@look@{"at": "it"}@@', TOOLS, "<|im_start|>assistant\n").tool_calls
    assert (call.name, dict(call.arguments)) == ("look", {"at": "it"})
    broken = model.template.read("@@look@{oops@@", TOOLS, "<|im_start|>assistant\n")
    assert (broken.tool_calls, bool(broken.unread)) == ((), True)
