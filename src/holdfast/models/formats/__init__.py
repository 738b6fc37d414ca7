"""formats: parses tool calls in the formats of open models from the text of one assistant turn.

    read_turn('<tool_call>{"name": "look", "arguments": {}}</tool_call>', tools)

`table` lists the marks of each format, `bodies` parses the text between the marks, `values` parses JSON and Python
literals and repairs small faults if only one reading is possible, `reasoning` knows the marks of reasoning, and
`reader` goes through a turn from left to right and decides what is a call, what is text and what is unreadable.

Why not a library: openai-harmony parses token ids of one vocabulary that it downloads, mistral-common parses the output
of its own tokenizers and needs five packages, and neither parses another format.  If a tokenizer has a response
template for a format that is not in the table, transformers parses it; see `models.chat_template`.
"""

from holdfast.models.formats import harmony
from holdfast.models.formats.reader import Reading, announces, read_turn
from holdfast.models.formats.reasoning import OPENS, leading_thought, open_mark, thought_at, unclosed

__all__ = [
    "OPENS",
    "Reading",
    "announces",
    "harmony",
    "leading_thought",
    "open_mark",
    "read_turn",
    "thought_at",
    "unclosed",
]
