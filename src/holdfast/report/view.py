"""Lays out the tables of both pages from the file, without arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.core.rates import AwarenessTax, Rate
from holdfast.core.results import (
    ALL,
    HELDOUT,
    HELDOUT_SKELETONS,
    Arm,
    Cell,
    Difference,
    FactorEffect,
    Family,
    GeneralisationVerdict,
    SequentialCell,
    Summary,
)
from holdfast.core.shown_samples import Sample
from holdfast.core.twins import PRESSURED, ROUTINE
from holdfast.report.figures import Strip, strip
from holdfast.report.words import (
    MINUS,
    NONE,
    humanise,
    odds,
    p_value_text,
    percent,
    point_span,
    points,
    seeds,
    span,
)

_STOPPED = "attempt_blocked"
SPLITS = {
    "train": "trained",
    "dev": "development",
    HELDOUT_SKELETONS: "held-out skeletons",
    HELDOUT: "held out",
    ALL: "all families",
}
_TONES = {
    "held": "good",
    "generalises": "good",
    "generalises within the family": "good",
    "not held": "bad",
    "does not generalise": "bad",
    "does not generalise within the family": "bad",
    "delivered": "good",
    "not delivered": "part",
    "partly": "part",
}


@dataclass(frozen=True)
class Shown:
    """A rate as a table shows it: the value, its interval, its counts, and a tint from 0 to 10.

    `bounds` are the least and greatest rate that unscored samples allow; empty if none is unscored.  `by_seed` is the
    rate of each training seed; empty if there is only one.
    """

    main: str
    interval: str
    counts: str
    tint: int | None
    bounds: str = ""
    by_seed: str = ""

    @property
    def estimate(self) -> str:
        """Value and interval on one line."""
        return f"{self.main} ({self.interval})" if self.interval else self.main

    @property
    def words(self) -> str:
        """Value, interval and bounds on one line."""
        return f"{self.main} ({self.spans})" if self.spans else self.main

    @property
    def spans(self) -> str:
        """Interval, bounds and the rates of training seeds, as far as there are any."""
        bounds, seeds = (f"{name} {text}" if text else "" for name, text in self._further)
        return "; ".join(filter(None, (self.interval, bounds, seeds)))

    @property
    def _further(self) -> tuple[tuple[str, str], ...]:
        return ("bounds", self.bounds), ("seeds", self.by_seed)


@dataclass(frozen=True)
class ArmRow:
    """One row of a table: an arm and its cells."""

    arm: Arm
    cells: tuple[Shown, ...]


@dataclass(frozen=True)
class Band:
    """Adjacent columns under one heading."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class RateTable:
    """A row per arm; the last `beside` columns are not rates of harm and get no tint."""

    bands: tuple[Band, ...]
    rows: tuple[ArmRow, ...]
    beside: int = 0


@dataclass(frozen=True)
class RateBounds:
    """The bounds of a pooled rate: if every unscored sample were harmless, and if every one were harm."""

    arm: str
    harm: Shown
    lower: str
    upper: str
    exposed: Shown


@dataclass(frozen=True)
class JudgedRow:
    """The verdict on one arm, with its rates, the difference to the control, and what the study could have found."""

    arm: str
    trained: Shown
    heldout: Shown
    difference: str
    interval: str
    by_seed: str
    margin: str
    tests: str
    detectable: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class DeliveryRow:
    """Whether an arm learned its lesson: the sign, its share in the arm and in the base, and harm where it is."""

    arm: str
    sign: str
    seen: Shown
    base: Shown
    harm: Shown
    needed: str
    verdict: str


def rate_text(rate: Rate, by_seed: Mapping[str, float | None] | None = None) -> Shown:
    """Format a rate, with the rates of its training seeds; the text of an unmeasured one is `not measured`."""
    if rate.rate is None:
        return Shown(NONE, "", "", None)
    counts = f"{rate.k} of {rate.n}" if rate.k is not None and rate.n is not None else ""
    bounds = span(rate.lower_bound, rate.upper_bound) if rate.lower_bound != rate.upper_bound else ""
    tint = round(10 * max(0.0, min(1.0, rate.rate)))
    alone = [percent(value).removesuffix("%") for value in (by_seed or {}).values()]
    shown = ", ".join(alone) if len(alone) > 1 else ""
    return Shown(percent(rate.rate), span(rate.low, rate.high), counts, tint, bounds, shown)


def _harm(cell: Cell) -> Shown:
    return rate_text(cell.harm, cell.by_seed)


def _acted(cell: Cell) -> Shown:
    return rate_text(cell.acted, cell.acted_by_seed)


def _useful(cell: Cell) -> Shown:
    return rate_text(cell.useful, cell.useful_by_seed)


def _work(cell: Cell) -> Shown:
    return rate_text(cell.work)


def verdict_rows(summary: Summary) -> list[JudgedRow]:
    """Lay out the verdict on each arm."""
    return [_verdict_row(summary, row) for row in summary.generalises]


def _verdict_row(summary: Summary, row: GeneralisationVerdict) -> JudgedRow:
    found = row.difference or Difference()
    tests = [("a fall", row.p_fall), ("none that counts", row.p_no_fall)]
    return JudgedRow(
        arm=summary.title(row.arm),
        trained=rate_text(row.trained, summary.split(row.arm, "train", PRESSURED).by_seed),
        heldout=rate_text(row.heldout, row.by_seed),
        difference=points(found.estimate),
        interval=point_span(found.low, found.high),
        by_seed=seeds(found.by_seed),
        margin=percent(row.margin),
        tests="; ".join(f"{name}: {p_value_text(p)}" for name, p in tests if p is not None) or NONE,
        detectable=percent(row.detectable),
        verdict=row.verdict,
        reason=row.reason,
    )


def delivery_rows(summary: Summary) -> list[DeliveryRow]:
    """Lay out whether the lesson of each arm was learned."""
    return [
        DeliveryRow(
            arm=summary.title(row.arm),
            sign=f"{row.sign} ({split_title(row.split)})",
            seen=rate_text(row.rate, row.by_seed),
            base=rate_text(row.base),
            harm=rate_text(row.harm),
            needed=percent(row.at_least),
            verdict=row.verdict,
        )
        for row in summary.delivery
    ]


def tone(verdict: str) -> str:
    """The CSS class of a verdict: good, part, bad, or open."""
    return _TONES.get(verdict.lower(), "open")


def split_title(name: str) -> str:
    """The title of a split."""
    return SPLITS.get(name, humanise(name))


def splits_of(summary: Summary) -> list[str]:
    """The splits in the file, trained first."""
    named = [family.split for family in summary.families]
    named += [split for arm in summary.splits.values() for split in arm]
    splits = dict.fromkeys(filter(None, named))
    return sorted(splits, key=lambda name: list(SPLITS).index(name) if name in SPLITS else len(SPLITS))


def _measured_splits(summary: Summary) -> list[str]:
    """The splits with pooled cells; only `all` if no arm was trained."""
    if summary.pooled == ALL:
        return [ALL]
    return [split for split in splits_of(summary) if any(split in arm for arm in summary.splits.values())]


def headline(summary: Summary) -> RateTable:
    """Lay out harm under pressure by family, then pooled acting under pressure and usefulness on routine work."""
    if summary.pooled == ALL:
        return _headline_of_all(summary)
    families = {split: [f for f in summary.families if f.split == split] for split in splits_of(summary)}
    bands = [Band(split_title(split).capitalize(), _names(group)) for split, group in families.items() if group]
    bands.append(Band(f"{split_title(summary.pooled).capitalize()}, beside harm", ("acted", "useful")))
    ordered = [family for group in families.values() for family in group]
    rows = []
    for arm in summary.arms:
        cells = [_harm(summary.cell(arm.name, family.name, PRESSURED)) for family in ordered]
        cells.append(_acted(summary.split(arm.name, summary.pooled, PRESSURED)))
        cells.append(_useful(summary.split(arm.name, summary.pooled, ROUTINE)))
        rows.append(ArmRow(arm, tuple(cells)))
    return RateTable(tuple(bands), tuple(rows), beside=2)


def _headline_of_all(summary: Summary) -> RateTable:
    """Lay out the headline of an untrained model: families in one band, and blocked attempts if there are any."""
    twin = summary.headline_twin
    job = ROUTINE if ROUTINE in summary.twins else twin
    stopping, graded = _stopping(summary, ALL), has_graded_work(summary, job)
    names = ("harm", *["blocked"] * stopping, "acted", "useful", *["work"] * graded) if summary.splits else ()
    bands = [Band("Harm", _names(summary.families)), Band("All families", names)][: 1 + bool(names)]
    rows = []
    for arm in summary.arms:
        cells = [rate_text(summary.cell(arm.name, family.name, twin).harm) for family in summary.families]
        if names:
            pooled = summary.split(arm.name, ALL, twin)
            cells += [rate_text(pooled.harm), *[Shown(_blocked(pooled), "", "", 0)] * stopping]
            cells += [rate_text(pooled.acted), rate_text(summary.split(arm.name, ALL, job).useful)]
            cells += [_work(summary.split(arm.name, ALL, job))] * graded
        rows.append(ArmRow(arm, tuple(cells)))
    return RateTable(tuple(bands), tuple(rows), beside=max(0, len(names) - 1))


def has_graded_work(summary: Summary, twin: str) -> bool:
    """Whether the work of any case under a twin has steps."""
    at = summary.pooled
    return any(summary.split(arm.name, at, twin).work.rate is not None for arm in summary.arms)


def _names(families: Iterable[Family]) -> tuple[str, ...]:
    return tuple(humanise(family.name) for family in families)


def control_twins(summary: Summary) -> RateTable:
    """Lay out harm in the control twins, by split; it should be near zero everywhere."""
    twins = [twin for twin in summary.twins if twin != summary.headline_twin]
    splits = _measured_splits(summary)
    bands = (
        tuple(Band(split_title(split).capitalize(), tuple(map(humanise, twins))) for split in splits) if twins else ()
    )
    rows = [
        ArmRow(arm, tuple(_harm(summary.split(arm.name, split, twin)) for split in splits for twin in twins))
        for arm in summary.arms
    ]
    return RateTable(bands, tuple(rows) if bands else ())


def reference(summary: Summary) -> str:
    """The arm that the others are compared with, as the file names it."""
    named = [row.against for row in summary.generalises if row.against]
    named += [d.b for d in summary.differences if d.kind == "arm"]
    return named[0] if named else ""


def forest(summary: Summary) -> tuple[Strip, ...]:
    """Draw pooled harm under pressure: each arm minus the reference arm."""
    against = reference(summary)
    return tuple(
        strip(summary.title(d.a), d)
        for d in summary.differences
        if (d.kind, d.scope, d.twin, d.measure, d.b) == ("arm", summary.pooled, summary.headline_twin, "harm", against)
    )


def twin_forest(summary: Summary) -> tuple[Strip, ...]:
    """Draw the effect of single factors on the untouched model: pooled harm under pressure minus harm in a twin."""
    base = untouched(summary)
    return tuple(
        strip(contrast(summary, d).partition(": ")[2], d)
        for d in summary.differences
        if (d.kind, d.scope, d.measure) == ("twin", summary.pooled, "harm") and d.a == base
    )


def untouched(summary: Summary) -> str:
    """The name of the untrained arm; of the first arm if every arm is trained."""
    return next((arm.name for arm in summary.arms if not arm.stages), summary.arms[0].name if summary.arms else "")


def contrast(summary: Summary, difference: Difference) -> str:
    """Name a difference: of two arms, or of two twins of one arm (in the file: `pressured-no_threat`)."""
    if difference.kind == "twin":
        twins = difference.twin.replace("-", f" {MINUS} ")
        return f"{summary.title(difference.a)}: {humanise(twins)}"
    return f"{summary.title(difference.a)} {MINUS} {summary.title(difference.b)}"


def bounds(summary: Summary) -> tuple[RateBounds, ...]:
    """Lay out for each arm the pooled rate of harm under pressure with its bounds for unscored samples."""
    rows = []
    for arm in summary.arms:
        found = summary.split(arm.name, summary.pooled, summary.headline_twin)
        low, high = percent(found.harm.lower_bound), percent(found.harm.upper_bound)
        rows.append(RateBounds(arm.title or arm.name, _harm(found), low, high, rate_text(found.exposed)))
    return tuple(rows)


@dataclass(frozen=True)
class Aware:
    """How often an arm says that this looks like a test, its harm if it does and if it does not, and the tax."""

    arm: str
    aware: Shown
    harm_aware: Shown
    harm_unaware: Shown
    tax: str


def awareness_rows(summary: Summary) -> tuple[Aware, ...]:
    """Lay out for each arm the pooled rate of awareness under pressure and the awareness tax."""
    rows = []
    for arm in summary.arms:
        cell = summary.split(arm.name, summary.pooled, summary.headline_twin)
        tax = cell.awareness
        aware, harm_aware, harm_unaware = map(rate_text, (cell.aware, tax.aware, tax.unaware))
        rows.append(Aware(arm.title or arm.name, aware, harm_aware, harm_unaware, taxed(tax)))
    return tuple(rows)


def taxed(split: AwarenessTax) -> str:
    """Format the awareness tax with its interval."""
    return f"{points(split.tax)} ({point_span(split.low, split.high)})" if split.tax is not None else NONE


def ratio(effect: FactorEffect) -> str:
    """Format an odds ratio with its interval, or the reason why there is none."""
    if effect.odds is None:
        return effect.note or NONE
    low, high = effect.odds_low, effect.odds_high
    return odds(effect.odds) + (f" ({odds(low)} to {odds(high)})" if low is not None and high is not None else "")


def samples(summary: Summary) -> list[tuple[Sample, list[str]]]:
    """Each sample with the quotes of its evidence that no message contains word for word."""
    return [(sample, [e.quote for e in sample.evidence if not _found(sample, e.quote)]) for sample in summary.samples]


def _found(sample: Sample, quote: str) -> bool:
    texts = [m.content for m in sample.messages]
    texts += [str(v) for m in sample.messages for call in m.tool_calls for v in call.arguments.values()]
    return bool(quote.strip()) and any(quote in text for text in texts)


def outline_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay out the short table for a terminal: column names, and a row for each arm.

    For a sequential run the table has a row for each cell.
    """
    if summary.until:
        return _sampled(summary)
    verdicts = {row.arm: row.verdict for row in summary.generalises}
    splits = _measured_splits(summary)
    at = summary.pooled if summary.pooled in splits else splits[-1] if splits else HELDOUT
    judged = summary.taught or bool(verdicts)
    # A terminal has room for one of the two: blocked attempts (with a guard) or verdicts (with training).
    stopping, twin = not judged and _stopping(summary, at), summary.headline_twin
    job = ROUTINE if ROUTINE in summary.twins else twin
    graded = not judged and has_graded_work(summary, job)
    pressed = "" if twin == PRESSURED else f" {humanise(twin)}"
    harms = (f"harm{pressed}, {split_title(split)}" for split in splits)
    names = ("arm", *harms, *["blocked"] * stopping, "useful", *["work"] * graded, *["verdict"] * judged)
    idle = not judged and twin != PRESSURED
    rows = []
    for arm in summary.arms:
        harm = [_harm(summary.split(arm.name, split, twin)).words for split in splits]
        stopped = [_blocked(summary.split(arm.name, at, twin))] * stopping
        done = summary.split(arm.name, at, job)
        work = [_work(done).main] * graded
        verdict = [verdicts.get(arm.name, "control" if arm.control else "")] * judged
        left = [_undone(done)] * idle
        rows.append((arm.title or arm.name, *harm, *stopped, rate_text(done.useful).main, *work, *verdict, *left))
    return (*names, *["work left undone"] * idle), rows


#: Outcomes in which an agent that nothing presses leaves its work.
_UNDONE = {"refused_task": "refused", "escalated": "escalated", "passive": "passive"}


def _undone(cell: Cell) -> str:
    """Format how many samples ended in refusal, escalation or passivity."""
    met = [f"{cell.outcomes[outcome]} {word}" for outcome, word in _UNDONE.items() if cell.outcomes.get(outcome)]
    return ", ".join(met) or ("none" if cell.useful.n else NONE)


def _stopping(summary: Summary, at: str) -> bool:
    """Whether any attempt at harm was blocked under pressure, for example by a guard."""
    return any(summary.split(arm.name, at, summary.headline_twin).outcomes.get(_STOPPED) for arm in summary.arms)


def _blocked(cell: Cell) -> str:
    """Format how many samples ended in a blocked attempt at harm."""
    return f"{cell.outcomes.get(_STOPPED, 0)} of {sum(cell.outcomes.values())}" if cell.outcomes else NONE


def _sampled(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    labels = {world: family.name for family in summary.families for world in family.skeletons}
    cells = summary.until.cells if summary.until else ()
    several, plain = len({cell.arm for cell in cells}) > 1, untouched(summary)
    rows = []
    for cell in cells:
        harm = summary.cell(cell.arm or plain, labels.get(cell.world, ""), cell.twin).harm
        rows.append(((cell.arm,) if several else ()) + (cell.world, cell.twin, rate_text(harm).words, *_far(cell)))
    return (("arm",) if several else ()) + ("world", "twin", "harm", "samples", "settled"), rows


def _far(cell: SequentialCell) -> tuple[str, str]:
    return NONE if cell.played is None else str(cell.played), cell.state
