"""Writes the answer at the top of a report from the figures and verdicts in the file."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.results import ALL, HELDOUT_SKELETONS, Difference, Summary
from holdfast.core.twins import PRESSURED, ROUTINE
from holdfast.report.judges import intent, resolved
from holdfast.report.missing import missing_sentence
from holdfast.report.view import rate_text, reference, tone, untouched
from holdfast.report.words import NONE, percent, point_span, points, series

#: Significance level of a set of comparisons that is corrected by Holm's method.
LEVEL = 0.05

#: The standing of a claim that was not written before the run.
LATE = "added after measuring"


def answer_sentences(summary: Summary) -> tuple[str, ...]:
    """A few sentences: what was found, what is missing, what arms, teaching or a judge add, and its limits."""
    sentences = (_first(summary), missing_sentence(summary), _between_arms(summary), _second(summary), _third(summary))
    return tuple(filter(None, sentences))


def _first(summary: Summary) -> str:
    if not summary.arms:
        return "Nothing has been measured yet."
    if summary.until:
        return "Each cell was sampled until its question was settled, so the cells are not pooled; see the table."
    first = untouched(summary)
    twin = summary.headline_twin
    found, who = summary.split(first, summary.pooled, twin), summary.title(first)
    rate = rate_text(found.harm)
    where = {
        ALL: "over all families measured",
        HELDOUT_SKELETONS: "in held-out skeletons of the trained family",
    }.get(summary.pooled, "in families held out of all training")
    who = summary.model.name if summary.pooled == ALL and len(summary.arms) == 1 else f"“{who}”"
    if twin != PRESSURED:
        work = rate_text(found.work if found.work.rate is not None else found.useful)
        share = "the work" if found.work.rate is not None else "the jobs"
        return f"Without pressure, {where}, {who} does {work.words} of {share}, and harm in {rate.words} of cases."
    if rate.main == NONE:
        return f"Under pressure, {where}, the harm done by {who} was not measured."
    bounds = f"; {rate.bounds} whatever the unscored samples are" if rate.bounds else ""
    interval = f" (95% interval {rate.interval}{bounds})" if rate.interval else ""
    return f"Under pressure, {where}, {who} does harm in {rate.main} of cases{interval}."


def _between_arms(summary: Summary) -> str:
    """For a model that was not trained: which arms change harm under pressure, and their cost in usefulness."""
    against = reference(summary)
    if summary.taught or summary.until or not against:
        return ""
    harm = _against(summary, against, PRESSURED, "harm")
    if not harm:
        return ""
    useful = _against(summary, against, ROUTINE, "useful")
    parts = [f"Against “{summary.title(against)}”, {_changes(summary, harm, 'harm under pressure')}"]
    parts += [_changes(summary, useful, "usefulness on routine work")] if useful else []
    return "; ".join(parts) + "."


def _against(summary: Summary, against: str, twin: str, measure: str) -> list[Difference]:
    """Each arm minus its reference arm, pooled over all families."""
    wanted = ("arm", summary.pooled, twin, measure, against)
    return [d for d in summary.differences if (d.kind, d.scope, d.twin, d.measure, d.b) == wanted]


def _changes(summary: Summary, rows: Sequence[Difference], measure: str) -> str:
    """In which arms a measure is shown lower or higher after Holm's correction, and in which it was not measured."""
    significant: dict[str, list[str]] = {"lower": [], "higher": []}
    unknown = [f"“{summary.title(d.a)}”" for d in rows if d.estimate is None or d.p_holm is None]
    for d in rows:
        if d.estimate and d.p_holm is not None and d.p_holm < LEVEL:
            name = f"“{summary.title(d.a)}” ({points(d.estimate)} points, {point_span(d.low, d.high)})"
            significant["lower" if d.estimate < 0 else "higher"].append(name)
    parts = [f"{measure} is shown {way} with {series(arms)}" for way, arms in significant.items() if arms]
    parts = parts or [f"no difference in {measure} is shown"]
    return ", and ".join(parts) + (f"; not measured for {series(unknown)}" if unknown else "")


def _second(summary: Summary) -> str:
    if not summary.taught:
        return " ".join(filter(None, (*resolved(summary), intent(summary))))
    if not summary.generalises:
        return "Whether any training generalises was not measured."
    groups: dict[str, list[str]] = {}
    for row in sorted(summary.generalises, key=lambda row: tone(row.verdict) != "good"):
        groups.setdefault(row.verdict, []).append(f"“{summary.title(row.arm)}”")
    verdicts = "; ".join(f"{verdict} for {series(arms)}" for verdict, arms in groups.items())
    against = reference(summary)
    within = summary.pooled == HELDOUT_SKELETONS
    reach = " This is about other skeletons of the trained family, not about other families." if within else ""
    start = f"Compared with “{summary.title(against)}”" if against else "On these families"
    return f"{start}: {verdicts}.{reach}"


def _third(summary: Summary) -> str:
    first = [claim.verdict.lower() for claim in summary.claims if claim.standing != LATE]
    verdicts = {NONE if verdict.startswith("not shown") else verdict for verdict in first}
    unknown = sum(verdict == NONE or verdict.startswith("not shown") for verdict in first)
    few = sorted({verdict for verdict in first if verdict.startswith("not shown (")})
    controls = _controls(summary)
    if not verdicts and not summary.taught:
        return controls[0].upper() + controls[1:] + "."
    if not verdicts:
        claims = "No claim was written before the run"
    elif verdicts == {"held"}:
        claims = "Every claim written before the run held"
    elif verdicts <= {"held", NONE}:
        claims = f"Of the claims written before the run, {unknown} were not shown or measured and the others held"
        claims = claims if "held" in verdicts else "No claim written before the run was shown or measured"
        claims += f": {series(few)}" if few and "held" not in verdicts else ""
    else:
        claims = "Not every claim written before the run held"
        claims += f" ({unknown} were not shown or measured)" if unknown else ""
    return f"{claims}, and {controls}."


def _controls(summary: Summary) -> str:
    limit = f" of {percent(summary.controls.limit)}" if summary.controls.limit is not None else ""
    lost = len(summary.controls.unmeasured)
    unknown = f"{lost} control cells were not measured, so nothing here may be read as an effect"
    return {
        True: f"the controls stayed within their limit{limit}",
        False: "the controls failed, so nothing here may be read as an effect",
        None: unknown if lost else "the controls were not measured",
    }[summary.controls.ok]
