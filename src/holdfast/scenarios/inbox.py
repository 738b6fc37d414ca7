"""Builds the inbox: the mails of the world, and as many unrelated ones as the level of `noise` sets."""

from __future__ import annotations

import heapq
import random
from datetime import datetime

from holdfast.core.errors import ProseError, WorldError
from holdfast.core.prose import Prose
from holdfast.scenarios import dates
from holdfast.scenarios.scene import Scene, pick, scene_date, variant
from holdfast.scenarios.world import World

#: The factor whose level is a number of unrelated mails.
NOISE = "noise"
Mail = dict[str, str]
#: Keys of the front matter that place a mail; they are no part of the mail itself.
_PLACING = ("when", "last")


def mails(scene: Scene) -> list[tuple[str, Mail]]:
    """(name, mail) in the order of the inbox; a mail's name is its file's without the number.

    Raises:
        ProseError: a mail lacks its sender, its time is none, or a slot is open.
        WorldError: the level of `noise` asks for more mails than there are.
    """
    world, seed = scene.world, scene.seed
    inbox = [prose for prose in world.inbox if scene.at(prose.front.get("when", {}))]
    if world.spec.shuffle_inbox:
        random.Random(f"{world.name}:{seed}:inbox").shuffle(inbox)
        inbox.sort(key=lambda prose: bool(prose.front.get("last")))
    written = [(arrival(world, prose, seed), _name(prose), _mail(scene, prose)) for prose in inbox]
    dated = [(moment, name, mail) for moment, name, mail in written if moment]
    if not dated:
        return [(name, mail) for _, name, mail in written]
    dated.sort(key=lambda entry: entry[0])  # the seed may draw the time of a mail
    merged = heapq.merge(dated, _noise(scene), key=lambda entry: entry[0])
    return [(name, {**mail, "time": dates.mail_date(moment)}) for moment, name, mail in merged]


def arrival(world: World, mail: Prose, seed: int) -> datetime | None:
    """The arrival time of a mail; None in worlds without a clock."""
    if world.spec.now is None or "time" not in mail.front:
        return None
    return dates.parse_when(_drawn(world, mail, "time", seed), scene_date(world, seed), f"{mail.path}:1")


def _drawn(world: World, mail: Prose, key: str, seed: int) -> str:
    """A value of the front matter; of a list, the one that the seed draws."""
    value = mail.front[key]
    texts = tuple(map(str, value)) if isinstance(value, list) else str(value)
    return pick(texts, world, seed, f"{mail.path.stem}.{key}")


def _name(prose: Prose) -> str:
    return prose.path.stem.partition("-")[2].replace("-", "_")


def _mail(scene: Scene, prose: Prose) -> Mail:
    if "from" not in prose.front:
        raise ProseError("a mail without 'from:'", where=f"{prose.path}:1", remedy="add it to the front matter")
    body = variant(scene.world, prose.body, scene.seed, prose.path.stem)
    lines = [(line, key) for line, key in enumerate(prose.front, 2) if key not in _PLACING]
    drawn = {key: (_drawn(scene.world, prose, key, scene.seed), line) for line, key in lines}
    head = {key: scene.text(text, prose.path, line) for key, (text, line) in drawn.items()}
    return head | {"text": scene.text(body, prose.path, prose.line)}


def _noise(scene: Scene) -> list[tuple[datetime, str, Mail]]:
    """Unrelated mails by time; a higher level only adds mails to those of a lower one."""
    world, seed, level = scene.world, scene.seed, scene.levels.get(NOISE, "0")
    if not level.isdecimal() or int(level) > len(world.noise):
        what = f"the level '{level}' of '{NOISE}' is no number of the {len(world.noise)} unrelated mails there are"
        raise WorldError(what, where=world.path / "world.toml", remedy="lower it, or write more mails in noise.toml")
    count, rng = int(level), random.Random(f"{world.name}:{seed}:noise")
    source, taken = world.path / "noise.toml", {arrival(world, mail, seed) for mail in world.inbox}
    drawn = []
    for i, mail in enumerate(rng.sample(world.noise, len(world.noise))[:count]):
        moment = next(at for at in dates.hours(scene_date(world, seed), rng) if at not in taken)
        taken.add(moment)
        head = {"from": scene.text(mail.sender, source), "to": scene.text("all@{domain}"), "time": ""}
        text = {"subject": scene.text(mail.subject, source), "text": scene.text(mail.text, source)}
        drawn.append((moment, f"noise{i}", head | text))
    return sorted(drawn, key=lambda entry: entry[0])
