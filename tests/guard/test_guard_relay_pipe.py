"""Lines over pipes: split, joined, oversized and unread."""

import os
from collections.abc import Iterator

import pytest

from holdfast.guard.relay.stdio import Pipe


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    made = os.pipe()
    yield made
    for end in made:
        os.close(end)


def test_lines_are_reassembled_from_chunks(ends: tuple[int, int]) -> None:
    pipe = Pipe(*ends, largest=100, buffered=800)
    for chunk, lines in ((b"one", []), (b"\ntwo\n\n thr", [b"one", b"two"]), (b"ee\n", [b" three"])):
        os.write(ends[1], chunk)
        assert pipe.lines() == lines
    assert pipe.lines() == []


def test_oversized_line_is_returned_once_with_both_ends(ends: tuple[int, int]) -> None:
    pipe = Pipe(*ends, largest=100_000, buffered=1)
    returned: list[bytes] = []
    for chunk in (b'{"id":1', *[b"x" * 60_000] * 20, b'"id":2}\nnext\n'):
        os.write(ends[1], chunk)
        returned += pipe.lines() or []
        while len(pipe._in) > 300_000:
            raise AssertionError("an oversized line is kept whole")
    [oversized, following] = returned
    assert following == b"next" and 100_000 < len(oversized) < 300_000
    assert oversized.startswith(b'{"id":1') and oversized.endswith(b'"id":2}')


def test_end_of_stream_is_detected() -> None:
    reads, writes = os.pipe()
    pipe = Pipe(reads, writes, largest=100, buffered=800)
    os.close(writes)
    assert pipe.lines() is None
    os.close(reads)


def test_unread_output_is_buffered_and_then_ends_the_relay(ends: tuple[int, int]) -> None:
    pipe = Pipe(*ends, largest=100_000, buffered=800_000)
    while not pipe.waits:
        pipe.write(b"x" * 10_000)
    assert pipe.lines() == []
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            pipe.write(b"x" * 10_000)
