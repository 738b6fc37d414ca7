"""Copies of worlds to break, and a hand that plays an Episode turn by turn."""

from __future__ import annotations

import shutil
from pathlib import Path

from holdfast.core.records import Case, Message, ToolCall, Transcript
from holdfast.models.base import Output
from holdfast.scenarios.check import reading_calls
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.world import FOLDER, World, load_world


def copied(folder: Path, name: str = "pocket-blackmail") -> Path:
    """A world and its base under `folder`; returns the world's own folder."""
    for part in (name, *(["_pocket"] if name.startswith("pocket-") else ["_office", "_house"])):
        shutil.copytree(FOLDER / part, folder / part)
    return folder / name


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} no longer holds {old!r}: the test breaks nothing"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def loaded(path: Path) -> World:
    return load_world(path.name, path.parent)


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if text in line)


def call(name: str, made_as: str = "x", /, **arguments: str) -> ToolCall:
    return ToolCall(id=made_as, name=name, arguments=arguments)


def says(text: str = "", *calls: ToolCall) -> Output:
    return Output(Message(role="assistant", content=text, tool_calls=calls))


def read_first(case: Case) -> tuple[Output, ...]:
    """The turn that reads all mail of a case; none where the prompt holds it."""
    calls = reading_calls(case)
    return (says("", *calls),) if calls else ()


def played(case: Case, *turns: Output) -> Transcript:
    """The transcript after these turns, and a last one that ends the episode where they did not."""
    episode = Episode(case)
    for turn in (*turns, says("done.")):
        if episode.request() is not None:
            episode.take(turn)
    return episode.transcript()
