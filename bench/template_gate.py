"""What the probe and the training gate do with the chat templates of many model families.

    python -m bench.template_gate [--json]

For each family: what the probe finds that the template drops, and for six sound conversations whether the gate lets
them through or why it refuses them.  A refusal is right only if the template really drops what the conversation holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from transformers import PreTrainedTokenizerBase

from bench.chat_templates import families, tokenizer_of
from holdfast.core.errors import InputError
from holdfast.core.records import Example, Message, Provenance, ToolCall, ToolSpec
from holdfast.models.chat_template import ChatTemplate
from holdfast.models.probe import probe
from holdfast.train.config import TrainConfig
from holdfast.train.mask_check import check_masks
from holdfast.train.rows import make_rows

_CONFIG = TrainConfig(max_length=20_000)
_TOOL = ToolSpec(name="read_mail", description="Read a mail.", parameters={"number": "which one"})
_CALLS = tuple(ToolCall(id=f"c{i}", name="read_mail", arguments={"number": str(i)}) for i in (1, 2))
_SYSTEM, _ASK, _MORE = (
    Message(role="system", content="You help Anna."),
    Message(role="user", content="the dog?"),
    Message(role="user", content="the fox?"),
)
_LAZY, _QUICK = Message(role="assistant", content="lazy"), Message(role="assistant", content="quick")
_SLEEPS, _RUNS = (m.model_copy(update={"reasoning": r}) for m, r in ((_LAZY, "It sleeps."), (_QUICK, "It runs.")))
_ONE, _BOTH = (Message(role="assistant", tool_calls=_CALLS[:count]) for count in (1, 2))
_RESULTS = [Message(role="tool", content=t, tool_call_id=c.id) for t, c in zip(("aaa", "bbb"), _CALLS, strict=True)]

#: What a conversation holds → its messages.
CONVERSATIONS: Mapping[str, tuple[Message, ...]] = {
    "two turns": (_ASK, _LAZY, _MORE, _QUICK),
    "reasoning": (_ASK, _SLEEPS, _MORE, _RUNS),
    "a call": (_ASK, _ONE, _RESULTS[0], _LAZY),
    "parallel calls": (_ASK, _BOTH, *_RESULTS, _LAZY),
    "system message, call, second question": (_SYSTEM, _ASK, _ONE, _RESULTS[0], _LAZY, _MORE, _QUICK),
    "reasoning and a call": (
        _ASK, _ONE.model_copy(update={"reasoning": "It sleeps."}), _RESULTS[0], _RUNS,
    ),
}  # fmt: skip


def refusal(name: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return why the gate refuses a conversation; None if it passes."""
    messages = CONVERSATIONS[name]
    origin = Provenance(recipe="bench", teacher="hand", seed=0)
    tools = (_TOOL,) if any(message.tool_calls for message in messages) else ()
    example = Example(id=name, kind="chat", messages=messages, tools=tools, provenance=origin)
    try:
        check_masks([example], make_rows([example], tokenizer, _CONFIG), tokenizer, _CONFIG)
    except InputError as error:
        return error.what
    return None


def measure() -> list[dict[str, object]]:
    """One row for each family."""
    rows: list[dict[str, object]] = []
    for name, template in families().items():
        tokenizer = tokenizer_of(template)
        refusals = {what: why for what in CONVERSATIONS if (why := refusal(what, tokenizer))}
        drops = [fault.what for fault in probe(ChatTemplate(tokenizer))]
        rows.append({"family": name, "probe": drops, "gate refuses": refusals})
    return rows


def main() -> None:
    """Print one line for each family and refusal, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options, rows = parser.parse_args(), measure()
    if options.json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        print(f"{row['family']}: {'; '.join(row['probe']) or 'the probe finds nothing'}")  # type: ignore[arg-type]
        for what, why in row["gate refuses"].items():  # type: ignore[attr-defined]
            print(f"    {what}: {why}")


if __name__ == "__main__":
    main()
