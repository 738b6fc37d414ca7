"""formats: the call formats of open models, read from the text of one assistant turn.

    read_turn('<tool_call>{"name": "look", "arguments": {}}</tool_call>', tools)

`table` says how each format marks its calls, `bodies` how what stands between the marks is written, `values` mends JSON
and Python literals where one reading is possible, `reasoning` knows the marks of thoughts, and `reader` goes through a
turn from left to right and decides what is a call, what is text and what cannot be read.

Why not a library: openai-harmony reads token ids of one vocabulary that it downloads, mistral-common reads the output
of its own tokenizers and brings five packages, and neither reads any other format.  A tokenizer that brings a response
template for a format that is not in the table is read by transformers itself; see `models.chat_template`.
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
