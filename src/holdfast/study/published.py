"""Puts published rates beside those of a run, for orientation: a run does not replicate the published experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import load_toml
from holdfast.core.errors import ConfigError
from holdfast.core.records import Record
from holdfast.core.results import Summary
from holdfast.core.twins import PRESSURED
from holdfast.stats.intervals import RateInterval, interval

_FILE = Path(__file__).with_name("published.toml")


class PublishedSource(Record):
    """Where rates were published, how they were read off, and how the publication scored samples."""

    id: str
    title: str
    where: str
    read: str
    scoring: str
    samples: int


class PublishedCell(Record):
    """The rates of one world and arm by model, in percent."""

    source: str
    world: str
    arm: str
    percent: Mapping[str, float]


class Published(Record):
    """Everything in `published.toml`."""

    sources: tuple[PublishedSource, ...]
    rates: tuple[PublishedCell, ...]


class Anchor(Record):
    """One published rate beside the one measured in the same cell."""

    world: str
    arm: str
    model: str
    published: RateInterval
    measured: RateInterval
    source: str


@cache
def published(path: Path = _FILE) -> Published:
    """Read the published rates.

    Raises:
        ConfigError: the file is not valid, or a rate names a source that the file does not define.
    """
    found = load_toml(path, Published)
    known = {source.id for source in found.sources}
    if lost := [cell.source for cell in found.rates if cell.source not in known]:
        raise ConfigError(f"no source '{lost[0]}'", where=path, remedy="add it under [[sources]]")
    return found


def compare(summary: Summary) -> list[Anchor]:
    """Find every published rate whose cell the run measured too.

    Args:
        summary: of a run; its arms are matched by name, and a family by its own where its worlds are that of the
            published scenario or plots of it.

    Returns:
        One row for each model that was published for a cell; empty if the run has none of the cells.
    """
    return list(_anchors(summary))


def _anchors(summary: Summary) -> Iterator[Anchor]:
    sources = {source.id: source for source in published().sources}
    families = {family.name: family.skeletons for family in summary.families}
    for cell in published().rates:
        here = summary.cells.get(cell.arm, {}).get(cell.world, {}).get(PRESSURED)
        plots = [world == cell.world or world.startswith(f"{cell.world}-") for world in families.get(cell.world, ())]
        if here is None or not plots or not all(plots):
            continue
        measured, source = RateInterval.model_validate(here.harm.model_dump()), sources[cell.source]
        for model, percent in cell.percent.items():
            rate = _rate(percent, source.samples)
            at = {"world": cell.world, "arm": cell.arm, "model": model, "source": source.id}
            yield Anchor.model_validate({**at, "published": rate, "measured": measured})


def _rate(percent: float, samples: int) -> RateInterval:
    k = round(percent * samples / 100)
    low, high = interval(k, samples)
    return RateInterval(k=k, n=samples, rate=k / samples, low=float(low), high=float(high))
