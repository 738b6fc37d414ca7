"""Count the tokens of examples with a checkpoint's tokenizer.

Documents count with two more tokens for their start and end. Chats are rendered in the organism's chat format
(`chat_text`), which is exact for the organism up to white space; another checkpoint's template differs by a few tokens
per turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from holdfast.core.errors import ModelError
from holdfast.core.records import Example

_ENDS = 2


class TokenCounter:
    """Counts tokens with the tokenizer at `path`, a `tokenizer.json` or a checkpoint folder that contains one.

    Raises:
        ModelError: the file is missing or is not a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            remedy = "pass a checkpoint folder that contains a tokenizer.json"
            raise ModelError("there is no tokenizer", where=file, remedy=remedy)
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            what = f"the file is not a tokenizer: {error}"
            raise ModelError(what, where=file, remedy="check the checkpoint") from None

    def __call__(self, examples: Sequence[Example]) -> list[int]:
        """Return the number of tokens of each example, in order."""
        texts = [example.text if example.kind == "document" else chat_text(example) for example in examples]
        # Encoded one by one, because for a few texts the library's threads cost more time than they save.
        encoded = [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        extra = [_ENDS if example.kind == "document" else 0 for example in examples]
        return [len(entry.ids) + more for entry, more in zip(encoded, extra, strict=True)]


def chat_text(example: Example) -> str:
    """Render a chat in the organism's format: `<|role|>…<|end|>`, tools listed in the system turn, calls as JSON."""
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
