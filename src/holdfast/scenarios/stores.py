"""Builds the stores beside the inbox: files, channels of a chat, tickets and a calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.core.errors import ProseError, WorldError
from holdfast.core.prose import Prose
from holdfast.scenarios.scene import Scene, variant
from holdfast.scenarios.world import place_of


def stores(scene: Scene) -> dict[str, Any]:
    """The stores that hold anything at the levels of a scene, by name, as they stand in the state of a Case.

    Raises:
        ProseError: a document lacks a key of its front matter, or a slot is open.
    """
    spec = scene.world.spec
    found = {
        "channels": {name: entry for name, entry in _channels(scene)},
        "tickets": {name: entry for name, entry in _tickets(scene)},
        "checks": {scene.text(item): _check(scene, item) for item in spec.checks},
        "candidates": {scene.text(name): list(map(scene.text, also)) for name, also in spec.candidates.items()},
        "calendar": [scene.text(f"{entry.time}  {entry.text}") for entry in _calendar(scene)],
    }
    return {name: held for name, held in found.items() if held}


def stored_files(scene: Scene) -> dict[str, dict[str, Any]]:
    """The files of the tables and of the folder `files/`, by name."""
    written = {}
    for prose in _present(scene, "files"):
        name = _front(scene, prose, "name")
        written[name] = {"text": _body(scene, prose), "locked": bool(prose.front.get("locked"))}
    return {**scene.files(), **written}


def _channels(scene: Scene) -> Iterator[tuple[str, dict[str, Any]]]:
    for prose in _present(scene, "chat"):
        members = [scene.address(str(who)) for who in _several(prose, "members")]
        yield _front(scene, prose, "channel"), {"members": members, "text": _body(scene, prose)}


def _tickets(scene: Scene) -> Iterator[tuple[str, dict[str, Any]]]:
    for prose in _present(scene, "tickets"):
        watchers = [scene.address(str(who)) for who in _several(prose, "watchers")]
        head = {key: _front(scene, prose, key) for key in ("title", "status")}
        yield _front(scene, prose, "id"), {**head, "watchers": watchers, "text": _body(scene, prose)}


def _check(scene: Scene, item: str) -> dict[str, Any]:
    check = scene.world.spec.checks[item]
    minutes = scene.text(check.minutes)
    if not minutes.isdecimal():
        what = f"the check of '{item}' takes '{minutes}' minutes"
        raise WorldError(what, where=place_of(scene.world, ["checks", item]), remedy="write a whole number")
    return {"minutes": int(minutes), "value": scene.text(check.value)}


def _calendar(scene: Scene) -> Sequence[Any]:
    return scene.world.spec.calendar


def _present(scene: Scene, store: str) -> list[Prose]:
    return [prose for prose in scene.world.documents[store] if scene.at(prose.front.get("when", {}))]


def _body(scene: Scene, prose: Prose) -> str:
    return scene.text(variant(scene.world, prose.body, scene.seed, prose.path.stem), prose.path, prose.line)


def _several(prose: Prose, key: str) -> list[Any]:
    held = prose.front.get(key)
    if not isinstance(held, list):
        what = f"a document without the list '{key}:'"
        raise ProseError(what, where=f"{prose.path}:1", remedy=f"add it to the front matter: {key}: [...]")
    return held


def _front(scene: Scene, prose: Prose, key: str) -> str:
    if key not in prose.front:
        what = f"a document without '{key}:'"
        raise ProseError(what, where=f"{prose.path}:1", remedy="add it to the front matter")
    return scene.text(str(prose.front[key]), prose.path)
