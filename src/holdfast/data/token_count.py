"""Tokens of an example, counted with a checkpoint's own tokenizer.

Documents are counted as they are, plus two for the tokens around them.  Chats are written out in the organism's
notation (`chat_text`), which is exact for the organism up to white space; for another checkpoint, whose template
differs, it is off by a few tokens a turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from holdfast.core.errors import ModelError
from holdfast.core.records import Example

_ENDS = 2


class Counter:
    """Counts tokens; `path` is a `tokenizer.json` or the checkpoint folder that holds one.

    Raises:
        ModelError: the file is missing or is not a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise ModelError("no tokenizer here", where=file, remedy="name a checkpoint that has a tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"not a tokenizer: {error}", where=file, remedy="check the checkpoint") from None

    def __call__(self, examples: Sequence[Example]) -> list[int]:
        """Tokens of each example, in order."""
        texts = [example.text if example.kind == "document" else chat_text(example) for example in examples]
        # One by one: for a few texts the library's threads cost more than they bring.
        encoded = [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        extra = [_ENDS if example.kind == "document" else 0 for example in examples]
        return [len(entry.ids) + more for entry, more in zip(encoded, extra, strict=True)]


def chat_text(example: Example) -> str:
    """A chat in the organism's notation: `<|role|>…<|end|>`, tools named in the system turn, calls as JSON."""
    parts = []
    for message in example.messages:
        text = message.content
        if message.role == "system" and example.tools:
            text += "\nTools: " + ", ".join(f"{t.name}({', '.join(t.parameters)})" for t in example.tools)
        for call in message.tool_calls:
            shape = {"name": call.name, "arguments": dict(call.arguments)}
            text += f"<tool_call>{json.dumps(shape, ensure_ascii=False)}</tool_call>"
        parts.append(f"<|{message.role}|>{text}<|end|>")
    return "".join(parts)
