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
    pipe = Pipe(*ends, largest=100)
    for chunk, lines in ((b"one", []), (b"\ntwo\n\n thr", [b"one", b"two"]), (b"ee\n", [b" three"])):
        os.write(ends[1], chunk)
        assert pipe.lines() == lines
    assert pipe.lines() == []


def test_oversized_line_is_returned_once_and_discarded(ends: tuple[int, int]) -> None:
    pipe = Pipe(*ends, largest=100)
    os.write(ends[1], b"x" * 150)
    assert pipe.lines() == [b"x" * 150]
    os.write(ends[1], b"x" * 150)
    assert pipe.lines() == []
    os.write(ends[1], b"xx\nnext\n")
    assert pipe.lines() == [b"next"]


def test_end_of_stream_is_detected() -> None:
    reads, writes = os.pipe()
    pipe = Pipe(reads, writes, largest=100)
    os.close(writes)
    assert pipe.lines() is None
    os.close(reads)


def test_unread_output_is_buffered_and_then_ends_the_relay(ends: tuple[int, int]) -> None:
    pipe = Pipe(*ends, largest=100_000)
    while not pipe.waits:
        pipe.write(b"x" * 10_000)
    assert pipe.lines() == []
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            pipe.write(b"x" * 10_000)
