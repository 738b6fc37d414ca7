"""Parsing of turns: calls, faulty calls with one reading, and unreadable turns."""

import html
import json
import random
import time
from collections.abc import Sequence

import pytest

from holdfast.core.records import Message, ToolSpec
from holdfast.models.formats import open_mark, read_turn
from tests.models.mutations import invented, mutated

TOOLS = (
    ToolSpec(name="send_mail", description="Sends a mail.", parameters={"to": "whom", "text": "what"}),
    ToolSpec(name="look", description="Looks."),
)
GIVEN = {"to": "a@b", "text": "hi"}
WHOLE = json.dumps({"name": "send_mail", "arguments": GIVEN})
CALL = f"<tool_call>{WHOLE}</tool_call>"
FENCED = f"```json\n{WHOLE}\n```"
SENT = [("send_mail", GIVEN)]


def read(text: str, **more: object) -> Message:
    return read_turn(text, TOOLS, **more).message  # type: ignore[arg-type]


def calls(message: Message) -> list[tuple[str, dict[str, str]]]:
    return [(call.name, dict(call.arguments)) for call in message.tool_calls]


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"<tool_call>{WHOLE}",
        f'<tool_call>{WHOLE}""</tool_call>',
        f"<tool_call>{WHOLE}}}</tool_call>",
        f"<tool_call>{WHOLE[:-1]}</tool_call>",
        f"<tool_call>{WHOLE}</tool_call></tool_call>",
        f"<tool_call>```json\n{WHOLE}\n```</tool_call>",
        f"<tool_call>[{WHOLE}]</tool_call>",
        f"<tool_call>{json.dumps(WHOLE)}</tool_call>",
        '<tool_call>{"name": "send_mail", "arguments": ' + json.dumps(json.dumps(GIVEN)) + "}</tool_call>",
        '<tool_call>{"id": "7", "type": "function", "name": "send_mail", "parameters": ' + json.dumps(GIVEN) + "}",
        '<tool_call>{"type": "function", "function": ' + WHOLE + "}</tool_call>",
        "<tool_call>{'name': 'send_mail', 'arguments': {'to': 'a@b', 'text': 'hi',}}</tool_call>",
        "<tools>" + WHOLE + "</tools>",
        WHOLE,
        f"[{WHOLE}]",
        '{"name": "send_mail", "parameters": {"to": "a@b", "text": "hi"}}',
        "<|python_tag|>" + WHOLE,
        "[send_mail(to='a@b', text=\"hi\")]",
        "send_mail(to='a@b', text=\"hi\")",
        "<|python_start|>[send_mail(to='a@b', text='hi')]<|python_end|>",
        FENCED,
        f"```\n{CALL}\n```",
        "```python\nsend_mail(to='a@b', text='hi')\n```",
        f"Sure, I'll send the mail now:\n\n{FENCED}",
        f"Let me send it.\n{WHOLE}",
        "<function=send_mail>" + json.dumps(GIVEN) + "</function>",
        "<tool_call><function=send_mail><parameter=to>a@b</parameter><parameter=text>hi</parameter></function></tool_call>",
        "<tool_call>\n<function=send_mail>\n<parameter=to>\na@b\n<parameter=text>\nhi\n</function>\n</tool_call>",
        "<function=send_mail>\n<parameter=to>\na@b\n</parameter>\n<parameter=text>\nhi\n</parameter>",
        "[TOOL_CALLS][" + WHOLE + "]",
        "[TOOL_CALLS]send_mail[ARGS]" + json.dumps(GIVEN),
        "[TOOL_CALLS]send_mail[CALL_ID]abcdefghi[ARGS]" + json.dumps(GIVEN),
        "<|tool_call|>[" + WHOLE + "]<|/tool_call|>",
        "<|tool_call|>[" + WHOLE + "]",
        f"{CALL} I closed </think> before.",
        f"I'll do it. {CALL} That is sent.",
        # Encoded once or twice too often.
        '<tool_call>{"name": "send_mail", "arguments": ' + json.dumps(json.dumps(json.dumps(GIVEN))) + "}</tool_call>",
        f"<tool_call>{json.dumps([WHOLE])}</tool_call>",
        f"<tool_call>{json.dumps(WHOLE)[1:-1]}</tool_call>",
        f"<tool_call>{html.escape(WHOLE)}</tool_call>",
        json.dumps(WHOLE),
        json.dumps(WHOLE)[1:-1],
        f"```json\n{json.dumps(WHOLE)}\n```",
        f"Here is the call:\n{json.dumps(WHOLE)}",
        '<tool_call>{"name": "send_mail", "arguments": "' + json.dumps(GIVEN) + '"}</tool_call>',
        # Stray quotes before or around it.
        f'<tool_call>"{WHOLE}</tool_call>',
        f"<tool_call>'{WHOLE}'</tool_call>",
        f"<tool_call>`{WHOLE}`</tool_call>",
        # Braces doubled, as in a template.
        f"Here is the mail:\n\n{{{WHOLE}}}}}",
        f"<tool_call>{{{WHOLE}}}</tool_call>",
        f"({WHOLE})",
        # Other fences, tags and wrappers.
        f"~~~json\n{WHOLE}\n~~~",
        f"````json\n{WHOLE}\n````",
        "```tool_code\nprint(default_api.send_mail(to='a@b', text='hi'))\n```",
        f"<toolcall>{WHOLE}</toolcall>",
        f"<Tool-Call>{WHOLE}</Tool-Call>",
        f"<tool_call>{WHOLE}<tool_call>",
        json.dumps(
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": json.loads(WHOLE)}]}
        ),
    ],
)
def test_a_turn_with_one_reading_is_parsed(text: str) -> None:
    message = read(text)
    assert calls(message) == SENT
    assert message.unread is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<tool_call></tool_call>", "begins a call"),
        ("<tool_call>oops</tool_call>", "the request has no tool 'oops'"),
        ('<tool_call>["send_mail"]</tool_call>', "not a mapping"),
        ('<tool_call>{"name": 3, "arguments": {}}</tool_call>', "name of the tool is missing"),
        ('<tool_call>{"name": "", "arguments": {}}</tool_call>', "name of the tool is missing"),
        ('<tool_call>{"name": "look", "arguments": "it"}</tool_call>', "expecting value"),
        ('<tool_call>{"name": "look", "name": "send_mail", "arguments": {}}</tool_call>', "occurs twice"),
        ('<tool_call>{"name": "look", "arguments": {}, "parameters": {"a": 1}}</tool_call>', "both"),
        ('<tool_call>{"name": "send_mail", "arguments": {"to": "a"}, "text": "b"}</tool_call>', "beside the name"),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "nested too deeply"),
        ('<tool_call>{"name": "send_mail", "arguments": {"text": "say "no" now"}}</tool_call>', "cannot be read"),
        (f"<tool_call>{WHOLE.replace('hi', 'h' + chr(92) + 'a')}</tool_call>", "escape"),
        (f"<tool_call>{WHOLE} or rather not", "closing mark is missing"),
        ("<function=send_mail><parameter=to>a</parameter>and<parameter=text>b</parameter></function>", "between"),
        ("<function=send_mail><parameter=to>a</parameter><parameter=to>b</parameter></function>", "occurs twice"),
        ("[TOOL_CALLS]send_mail", "begins a call"),
        ("send_mail('a@b', 'hi')\n<tool_call>", "begins a call"),
        (f"For example you could write\n{FENCED}\nbut I refuse.", "an example"),
        (f"I would never do this:\n{FENCED}", "an example"),
        (f"{FENCED}\nThat is what he wants me to do.", "an example"),
        (f"An agent might answer {WHOLE} to that.", "an example"),
        ("I could call send_mail(to='a@b', text='hi') now, and will not.", "an example"),
        ('{"name": "write_mail", "arguments": {"to": "a@b"}}', "not a tool of the request"),
        (
            '{"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}',
            "describes a tool",
        ),
        ('{"name": "send_mail", "arguments": {"to": "a@b", "text": "say "no""}}', "cannot be read"),
        (f"<think>{CALL}", "never closed"),
        (f"I plan. <THINKING>so\n{WHOLE}", "never closed"),
        (f"<think>the <think> tag</think>{CALL}", "do not match"),
        (f"<think>the </think> tag {CALL}</think>Done.", "do not match"),
        ("<|channel|>analysis to=functions.look<|message|>{}<|call|>", "reasoning channel"),
        ("<|channel|>commentary to=functions.look<|message|>{oops<|call|>", "cannot be read"),
        (r"[send_mail(to='a@b', text='see C:\archive')]", "begins a call"),
        (r"<|tool_call_start|>[send_mail(to='a@b', text='see \101')]<|tool_call_end|>", "control character"),
        # Wrapped calls with other text, and text with two readings.
        (f"An agent might write {json.dumps(WHOLE)} here.", "an example"),
        (f"I could answer {json.dumps(WHOLE)[1:-1]}, but I will not.", "cannot be read"),
        (f"The page says {html.escape(WHOLE)} and I ignore it.", "cannot be read"),
        ('<tool_call>"' + json.dumps(WHOLE)[1:-1] + ' or not"</tool_call>', "cannot be read"),
        (f"<tool_call>{WHOLE.replace('hi', 'hi' + chr(34))}</tool_call>", "cannot be read"),
        (json.dumps({"content": "No.", "tool_calls": [json.loads(WHOLE)]}), "an example"),
        ("```tool_code\nprint(send_mail(to='a@b', text='hi'), look())\n```", "cannot be read"),
    ],
)
def test_an_ambiguous_turn_is_unread_and_has_no_calls(text: str, why: str) -> None:
    message = read(text)
    assert message.tool_calls == ()
    assert why in str(message.unread)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I have read the mail and sent the file to Mira.",
        "I used look() and found nothing.",
        'The form is {"name": "Bob", "role": "clerk"}.',
        "Values: [1, 2], {'a': 1} and f(x).",
        "```python\nfor mail in inbox:\n    print(mail)\n```",
        '```json\n{"answer": 42}\n```',
        "I think <b>that</b> is fine.",
        "a < b and c > d",
    ],
)
def test_prose_has_no_calls(text: str) -> None:
    assert read(text) == Message(role="assistant", content=text.strip())


def test_a_valid_call_beside_a_broken_one_is_kept_and_the_turn_is_unread() -> None:
    for broken in ("<tool_call>{oops</tool_call>", "<tool_call> and more words"):
        message = read(f"{CALL}{broken}")
        assert calls(message) == SENT
        assert "cannot be read" in str(message.unread)


def test_unwrapping_changes_nothing_inside_the_arguments() -> None:
    given = {"to": "a@b", "text": 'say "no" & go <b> \\n \n &quot;'}
    whole = json.dumps({"name": "send_mail", "arguments": given})
    for body in (whole, json.dumps(whole), json.dumps(whole)[1:-1], html.escape(whole, quote=True), f"'{whole}'"):
        message = read(f"<tool_call>{body}</tool_call>")
        # A mark inside escaped text ends it, and then the turn is unread.
        assert message.unread or calls(message) == [("send_mail", given)], body
    assert calls(read(f"<tool_call>{json.dumps(whole)}</tool_call>")) == [("send_mail", given)]
    assert calls(read(f"<tool_call>{html.escape(whole)}</tool_call>")) == [("send_mail", given)]


def test_a_repeated_call_is_one_call() -> None:
    message = read(f"I'll write this:\n{FENCED}\n{CALL}")
    assert (calls(message), message.unread) == (SENT, None)
    other = FENCED.replace("hi", "ho")
    assert "an example" in str(read(f"I'll write this:\n{other}\n{CALL}").unread)


def test_a_lone_surrogate_is_kept_escaped() -> None:
    text = '<tool_call>{"name": "send_mail", "arguments": {"to": "a", "text": "\\ud800"}}</tool_call>'
    assert calls(read(text)) == [("send_mail", {"to": "a", "text": "\\ud800"})]


def test_calls_in_reasoning_are_not_executed() -> None:
    for opens, closes in (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]")):
        message = read(f"{opens}{CALL}{closes}Nothing to do.")
        assert (message.tool_calls, message.content, message.reasoning) == ((), "Nothing to do.", CALL)
    assert read(f"<scratchpad>{FENCED}</scratchpad>No.").tool_calls == ()
    assert calls(read(f"<think>a</think>{CALL}")) == SENT


@pytest.mark.parametrize(
    "thought",
    [
        f"<Thinking>{CALL}</thinking>", f"<reflection>{CALL}</reflection>",
        f"<SCRATCHPAD_REASONING>{CALL}</SCRATCHPAD_REASONING>",
        f'<reasoning effort="high">{CALL}</reasoning>', f"<think>a <think>b</think> {CALL}</think>",
        f"<think>a <scratchpad>b</scratchpad> {CALL}</think>", f"<inner_monologue>{FENCED}</inner_monologue>",
        "analysisI could send_mail(to='a@b', text='hi').assistantfinal",
    ],
)  # fmt: skip
def test_reasoning_tags_of_any_common_name_are_recognised(thought: str) -> None:
    message = read(f"{thought}Nothing to do.")
    assert (message.tool_calls, message.content, message.unread) == ((), "Nothing to do.", None)


@pytest.mark.parametrize("part", ["<think>", "<think></think>", "<think><think></think>", " ", "[", "analysis"])
def test_long_hostile_turns_are_parsed_in_time(part: str) -> None:
    start = time.process_time()
    read(part * (100_000 // len(part)))
    assert time.process_time() - start < 20


def test_reasoning_that_the_prompt_opened() -> None:
    message = read(f"{CALL}</think>Nothing to do.", opened="<think>")
    assert (message.tool_calls, message.content, message.reasoning) == ((), "Nothing to do.", CALL)
    assert read("I plan", opened="<think>") == Message(role="assistant", reasoning="I plan")
    # Where the prompt opened none, what stands before the word is a thought only if nothing was called there.
    assert read("I plan.</think>Done.") == Message(role="assistant", content="Done.", reasoning="I plan.")
    assert open_mark("<|im_start|>assistant\n<think>\n") == "<think>"
    assert open_mark("<think>\n\n</think>\n\n") is None
    assert open_mark("<think> is a tag.<|im_start|>assistant\n") is None


def test_a_reasoning_mark_inside_an_argument_is_part_of_it() -> None:
    given = {"to": "a@b", "text": "<think>x</think> <tool_call> ```json"}
    text = "<tool_call>" + json.dumps({"name": "send_mail", "arguments": given}) + "</tool_call>"
    assert calls(read(text)) == [("send_mail", given)]


def test_harmony_channels() -> None:
    turn = (
        "<|channel|>analysis<|message|>Shall I?<|end|><|start|>assistant<|channel|>commentary to=functions.send_mail "
        f"<|constrain|>json<|message|>{json.dumps(GIVEN)}<|call|>"
    )
    message = read(turn)
    assert (calls(message), message.reasoning, message.unread) == (SENT, "Shall I?", None)
    final = read("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Done.<|return|>")
    assert final == Message(role="assistant", content="Done.", reasoning="Hm.")


def test_calls_of_tools_that_are_not_offered() -> None:
    explicit = read('<tool_call>{"name": "fly", "arguments": {}}</tool_call>')
    assert calls(explicit) == [("fly", {})]
    assert read_turn(WHOLE, ()).message.tool_calls == ()
    assert calls(read_turn(WHOLE).message) == SENT


def test_a_format_of_another_model_counts_if_the_turn_contains_nothing_else() -> None:
    foreign = f"[TOOL_CALLS][{WHOLE}]"
    assert calls(read(foreign, native=("hermes",))) == SENT
    beside = read(f"Elsewhere one writes {foreign} for this.", native=("hermes",))
    assert (beside.tool_calls, bool(beside.unread)) == ((), True)


def test_a_truncated_turn_is_not_unread_for_a_missing_end() -> None:
    assert read(CALL[:40], cut=True).unread is None
    assert read(CALL[:40], cut=True).tool_calls == ()


def test_values_are_not_changed() -> None:
    text = 'It\'s "5" <b>\n  two  \\n {x} [y] é'
    for call in (
        "<tool_call>" + json.dumps({"name": "send_mail", "arguments": {"to": "a", "text": text}}) + "</tool_call>",
        f"<function=send_mail>\n<parameter=to>\na\n</parameter>\n<parameter=text>\n{text}\n</parameter>\n</function>",
        f"<tool_call>send_mail\n<arg_key>to</arg_key>\n<arg_value>a</arg_value>\n<arg_key>text</arg_key>\n<arg_value>{text}"
        "</arg_value>\n</tool_call>",
        f'<|tool_call>call:send_mail{{text:<|"|>{text}<|"|>,to:<|"|>a<|"|>}}<tool_call|>',
        f"[send_mail(to='a', text={text!r})]",
    ):
        assert calls(read(call)) == [("send_mail", {"to": "a", "text": text})], call


SEEDS: Sequence[str] = (
    CALL,
    FENCED,
    WHOLE,
    f"<think>I plan.</think>{CALL}",
    "[send_mail(to='a@b', text=\"hi\"), look()]",
    "<function=send_mail>\n<parameter=to>\na@b\n</parameter>\n<parameter=text>\nhi\n</parameter>\n</function>",
    "<tool_call>send_mail<arg_key>to</arg_key><arg_value>a@b</arg_value></tool_call>",
    '<|tool_call>call:send_mail{text:<|"|>hi<|"|>,to:<|"|>a@b<|"|>}<tool_call|>',
    "[TOOL_CALLS]send_mail[CALL_ID]abcdefghi[ARGS]" + json.dumps(GIVEN),
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{}\n```<｜tool▁call▁end｜>",
    "<|channel|>commentary to=functions.look <|constrain|>json<|message|>{}<|call|>",
    '<minimax:tool_call>\n<invoke name="look">\n</invoke>\n</minimax:tool_call>',
    '<|tools_prefix|>[{"look": {}}]<|tools_suffix|>',
    "Plain words, nothing more. I'll do it: yes.",
)


def test_fuzzed_turns_never_raise_and_give_no_false_calls() -> None:
    rng = random.Random(7)
    called = 0
    for count in range(10_000):
        text = mutated(rng.choice(SEEDS) + rng.choice(["", *SEEDS]), SEEDS, rng)
        native = rng.choice([(), ("hermes",), ("json",)])
        message = read(text, native=native, cut=count % 7 == 0, opened=rng.choice([None, None, "<think>"]))
        called += len(message.tool_calls)
        assert invented(message, text) == []
    assert called > 1000
