"""Requests of pocket cases, and the call that the fixture `caller` opens each turn with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.models import Output, Request
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode

CALL = '<tool_call>{"name": "read_inbox", "arguments": {}}</tool_call>'


def requests(count: int, **settings: Any) -> list[Request]:
    grid = cases(["pocket-blackmail", "pocket-leaking"], ["pressured", "outlet"], range(-(-count // 4)))[:count]
    return [replace(r, **settings) for case in grid if (r := Episode(case, max_tokens=12).request()) is not None]


def texts(outputs: Sequence[Output]) -> list[str]:
    return [output.message.content for output in outputs]
