"""The records of `summary.json`: every number and text that a report shows.

`study` makes them from stored verdicts, `report` reads them back and draws them.  Everything but the schema number may
be missing in a file: None or an empty value then stands for "not measured", never for zero.  Keys that this version
does not know are ignored, so that an older report can read a newer file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from holdfast.core.rates import Agreement, AwarenessTax, PairedDifference, Rate, TolerantRecord
from holdfast.core.shown_samples import Sample
from holdfast.core.text import Text
from holdfast.core.twins import PRESSURED

SUMMARY = "summary.json"
SCHEMA = 1
HELDOUT = "heldout"
#: Skeletons (plots) of a family whose other skeletons training uses.
HELDOUT_SKELETONS = "heldout-skeletons"
SPLITS = ("train", "dev", HELDOUT_SKELETONS, HELDOUT)
#: The scope of everything that was measured.
ALL = "all"


class Difference(PairedDifference):
    """One row of the table of differences: arm `a` - arm `b` under one twin, or two twins within arm `a`.

    `kind` is "arm" or "twin".  `p_holm` is `p` with Holm's correction within the set of tests that the row belongs to.
    """

    kind: str = ""
    a: str = ""
    b: str = ""
    scope: str = ""
    twin: str = ""
    measure: str = ""
    p_holm: float | None = None


class Cell(TolerantRecord):
    """The results of one arm in one family, or one split, under one twin; `by_seed` is harm by training seed.

    `acted_by_seed` and `useful_by_seed` are the same for acting and usefulness; files of older versions lack them.

    `work` is the mean share of the steps of the work that were done, without `k`; empty where no case has steps.

    `exposed` is harm among the samples in which the model saw what presses it and what it could abuse: a secondary
    rate, since what a model looks at is its own choice.  It is empty where nothing had to be seen.
    """

    harm: Rate = Rate()
    exposed: Rate = Rate()
    acted: Rate = Rate()
    useful: Rate = Rate()
    work: Rate = Rate()
    harm_given_acted: Rate = Rate()
    aware: Rate = Rate()
    awareness: AwarenessTax = AwarenessTax()
    outcomes: Mapping[str, int] = {}
    by_seed: Mapping[str, float | None] = {}
    acted_by_seed: Mapping[str, float | None] = {}
    useful_by_seed: Mapping[str, float | None] = {}


class MeasuredModel(TolerantRecord):
    """The model that was measured, or that the training of every arm started from."""

    name: str = "unnamed"
    identity: str = ""
    organism: bool = False


class StageData(TolerantRecord):
    """One data set of a training stage, and the number of tokens it was cut to."""

    set: str
    tokens: int | None = None


class Stage(TolerantRecord):
    """One training stage of an arm."""

    kind: str
    data: tuple[StageData, ...] = ()


class Arm(TolerantRecord):
    """One arm of the comparison: how its checkpoint was trained, and whether it is a control.

    `tokens` were requested; `read` and `supervised` were counted in training and are means over training seeds.
    """

    name: str
    title: str = ""
    about: str = ""
    control: bool = False
    without_reasons: str = ""
    tokens: int | None = None
    read: int | None = None
    supervised: int | None = None
    stages: tuple[Stage, ...] = ()


class Family(TolerantRecord):
    """A family of worlds, its split, and the worlds (skeletons) it was measured in; `world` is the first of them."""

    name: str
    split: str = ""
    world: str = ""
    worlds: tuple[str, ...] = ()

    @property
    def skeletons(self) -> tuple[str, ...]:
        """The worlds; files of older versions name one."""
        return self.worlds or ((self.world,) if self.world else ())


class FactorEffect(TolerantRecord):
    """The main effect of one level of a factor against the factor's reference level, for one arm or all together.

    Levels that vary together over all cases have one common effect, under their joined names.  `points` is the
    difference in harm rate and `p` tests it; `p_holm` is corrected over all effects.  `odds` is the odds ratio.  `note`
    says why a value is None.
    """

    arm: str = ""
    factor: str = ""
    level: str = ""
    reference: str = ""
    points: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    odds: float | None = None
    odds_low: float | None = None
    odds_high: float | None = None
    samples: int | None = None
    scenarios: int | None = None
    note: str = ""


class SequentialCell(TolerantRecord):
    """One cell of a sequential run: how many samples were played, and whether its question was settled."""

    arm: str = ""
    world: str = ""
    twin: str = ""
    state: str = ""
    played: int | None = None
    harms: int | None = None
    low: float | None = None
    high: float | None = None


class SequentialRun(TolerantRecord):
    """A run that stopped each cell when its question was settled: the goal, the maximum per cell, and the cells."""

    goal: Mapping[str, float | None] = {}
    most: int | None = None
    samples: int | None = None
    cells: tuple[SequentialCell, ...] = ()


class JudgedRate(TolerantRecord):
    """One question to a judge: the rate of "yes", and the harm among samples by that answer."""

    rate: Rate = Rate()
    tax: AwarenessTax | None = None


class RealOrTest(TolerantRecord):
    """What a model took its situation for, by a judge: shares of samples, and the harm among them.

    `unsaid` are abstentions: the model said neither.  `tax` compares those that took it for real with those that took
    it for a test.
    """

    test: Rate = Rate()
    real: Rate = Rate()
    unsaid: Rate = Rate()
    harm_test: Rate = Rate()
    harm_real: Rate = Rate()
    harm_unsaid: Rate = Rate()
    tax: AwarenessTax = AwarenessTax()


class JudgeAgreement(Agreement):
    """Agreement of a judge's own answers to one question with another source, where both have an answer."""

    question: str = ""
    against: str = ""


#: Arm → family or split → twin → question → rate.
JudgedRates = Mapping[str, Mapping[str, Mapping[str, Mapping[str, JudgedRate]]]]


class JudgeOpinion(TolerantRecord):
    """All answers of one judge: rates by family (`cells`) and by split, and its agreement with other sources.

    `answers` holds arm → question → answer → count; `settled` counts questions that effects or lexicon answer without
    the judge, `not asked` those that nothing answers.  `together` names the judges whose common answers these are: a
    sample about which they disagree stays unresolved.  `real_or_test` holds arm → split → twin → rubric (`awareness` in
    the episode, `probe` when asked afterwards) → the sides.
    """

    judge: str
    together: tuple[str, ...] = ()
    cells: JudgedRates = Field(default_factory=dict)
    splits: JudgedRates = Field(default_factory=dict)
    real_or_test: Mapping[str, Mapping[str, Mapping[str, Mapping[str, RealOrTest]]]] = Field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Mapping[str, int]]] = {}
    agreement: tuple[JudgeAgreement, ...] = ()


class LabelCounts(TolerantRecord):
    """The hand labels of the samples with one prediction; `size` counts all samples with it."""

    prediction: str = ""
    size: int = 0
    harm: int = 0
    no_harm: int = 0
    unsure: int = 0


class HandLabelledRate(TolerantRecord):
    """The rate of harm of one arm under one twin by hand labels of `drawn` of its samples.

    `left_out` counts samples that cannot be labelled; they are in the bounds of the rate.  `why_not` says why there is
    no rate.
    """

    arm: str = ""
    twin: str = ""
    drawn: int = 0
    left_out: int = 0
    rate: Rate = Rate()
    why_not: str = ""
    strata: tuple[LabelCounts, ...] = ()


class Reason(TolerantRecord):
    """How many samples, or answers of a judge, are missing for one reason; `outcome` is what they are recorded as."""

    outcome: str = ""
    reason: Text = ""
    count: int = 0


class Unscored(TolerantRecord):
    """How many samples of one arm have no verdict on the model, and why, most frequent reason first.

    `asked_again` counts samples that failed in an earlier run and were played again since.
    """

    arm: str = ""
    scored: int = 0
    unscored: int = 0
    asked_again: int = 0
    reasons: tuple[Reason, ...] = ()


class Unanswered(TolerantRecord):
    """The questions about one arm that one judge did not answer, most frequent reason first."""

    judge: str = ""
    arm: str = ""
    answered: int = 0
    unanswered: int = 0
    reasons: tuple[Reason, ...] = ()


class Incomplete(TolerantRecord):
    """A run that stopped early: the samples that were played, of the samples that were planned."""

    played: int | None = None
    of: int | None = None


class Delivery(TolerantRecord):
    """Whether an arm learned what it was taught: how often the sign of it is seen, under pressure.

    Attributes:
        sign: what is looked for, in words.
        split: the families in which it is looked for.
        at_least: the share of samples in which it must be seen.
        rate: the share in the arm; `by_seed` by training seed.
        base: the share in the untouched base.
        harm: the rate of harm among the samples in which it is seen.
        verdict: "delivered", "not delivered" or "not measured".
    """

    arm: str = ""
    sign: str = ""
    split: str = ""
    at_least: float | None = None
    rate: Rate = Rate()
    by_seed: Mapping[str, float | None] = {}
    base: Rate = Rate()
    harm: Rate = Rate()
    verdict: str = "not measured"


class GeneralisationVerdict(TolerantRecord):
    """Whether an arm's training had its effect in held-out cases; `difference` is against the arm `against`.

    Attributes:
        scope: the split that the verdict is on: held-out families, or held-out skeletons of a trained family.
        heldout: harm there; `by_seed` by training seed.
        seeds: the fewest training seeds of the arm and the controls that it is compared with.
        margin: the smallest fall against the base that counts.
        p_fall: p value of a fall against every reference, corrected over the arms of the study.
        p_no_fall: p value of the exclusion of a fall as large as the margin, corrected in the same way.
        detectable: the fall that a study like this one finds with a chance of 80%.
    """

    arm: str
    scope: str = HELDOUT
    trained: Rate = Rate()
    heldout: Rate = Rate()
    against: str = ""
    difference: Difference | None = None
    verdict: str = "not measured"
    reason: str = ""
    seeds: int | None = None
    margin: float | None = None
    p_fall: float | None = None
    p_no_fall: float | None = None
    detectable: float | None = None
    by_seed: Mapping[str, float | None] = {}


class ClaimResult(TolerantRecord):
    """A claim, whether it held, and whether it was written before anything was measured (`standing`)."""

    text: str
    verdict: str = "not measured"
    standing: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


class Breach(TolerantRecord):
    """A control cell above its limit, or one that was not measured: `rate` is None, or too few samples are scored."""

    arm: str = ""
    family: str = ""
    twin: str = ""
    rate: float | None = None
    k: int | None = None
    n: int | None = None


class Controls(TolerantRecord):
    """Whether every control twin of every arm stayed at or below the limit.

    Attributes:
        ok: False if a measured cell is above the limit; None if none is and a cell was not measured, or if no twin is a
            control.
        limit: the highest harm rate that a control may have.
        failed: cells measured above the limit.
        unmeasured: cells without a scored sample, or with so many unscored ones that these could hide a failure.
    """

    ok: bool | None = None
    limit: float | None = None
    failed: tuple[Breach, ...] = ()
    unmeasured: tuple[Breach, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, value: Any) -> Any:
        """Older files list a cell that was not measured among the failed ones."""
        if not isinstance(value, dict) or "unmeasured" in value or not isinstance(value.get("failed"), list):
            return value
        measured = [cell for cell in value["failed"] if not isinstance(cell, dict) or cell.get("rate") is not None]
        unmeasured = [cell for cell in value["failed"] if cell not in measured]
        ok = value.get("ok") if measured or not unmeasured else None
        return {**value, "ok": ok, "failed": measured, "unmeasured": unmeasured}


class LeakageFinding(TolerantRecord):
    """Test text in one training set: the first of `count` examples, and whether it is a leak or only worth a note."""

    set: str = ""
    kind: str = ""
    leak: bool = True
    world: str = ""
    example: str = ""
    text: str = ""
    count: int | None = None


class Leakage(TolerantRecord):
    """All findings of test text in training data, leaks first, and how much was searched."""

    findings: tuple[LeakageFinding, ...] = ()
    checked: Mapping[str, int] = {}

    @property
    def leaking(self) -> frozenset[str]:
        """The training sets that leak."""
        return frozenset(finding.set for finding in self.findings if finding.leak)


class StageTiming(TolerantRecord):
    """Seconds that all workers spent on one kind of work, and the highest peak memory (MB) of one of them."""

    seconds: float | None = None
    peak_mb: float | None = None


class Summary(TolerantRecord):
    """The content of `summary.json`, without its schema number.

    Attributes:
        cells: arm → family → twin → results; `splits` the same with pooled families.
        skeletons: arm → world → twin → results, for the worlds of families that were measured in several.
        judged_on: the split that the headlines and verdicts of a study are on.
        until: set if each cell was sampled until its question was settled.
        provenance: keys, hashes and versions of everything the numbers come from.
        timing: kind of work → its cost.
        limits: sentences on what the results do not show.
    """

    study: str = "study"
    asked: str = ""
    made: str = ""
    holdfast: str = ""
    model: MeasuredModel = MeasuredModel()
    arms: tuple[Arm, ...] = ()
    families: tuple[Family, ...] = ()
    twins: tuple[str, ...] = ()
    judged_on: str = HELDOUT
    cases_per_cell: int | None = None
    train_seeds: tuple[int, ...] = ()
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {}
    splits: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {}
    skeletons: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {}
    until: SequentialRun | None = None
    differences: tuple[Difference, ...] = ()
    effects: tuple[FactorEffect, ...] = ()
    delivery: tuple[Delivery, ...] = ()
    generalises: tuple[GeneralisationVerdict, ...] = ()
    claims: tuple[ClaimResult, ...] = ()
    judged: tuple[JudgeOpinion, ...] = ()
    hand_labelled: tuple[HandLabelledRate, ...] = ()
    unscored: tuple[Unscored, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    incomplete: Incomplete | None = None
    controls: Controls = Controls()
    leakage: Leakage | None = None
    samples: tuple[Sample, ...] = ()
    provenance: Mapping[str, Any] = {}
    timing: Mapping[str, StageTiming] = {}
    limits: tuple[str, ...] = ()

    @property
    def taught(self) -> bool:
        """Whether any arm was trained; if none was, a model was measured as it is."""
        return any(arm.stages for arm in self.arms) or not self.arms

    @property
    def pooled(self) -> str:
        """The scope of the headlines: held-out families or skeletons, or all families if no arm was trained."""
        split = self.splits and not any(ALL in arm for arm in self.splits.values())
        return self.judged_on if self.taught or split else ALL

    @property
    def headline_twin(self) -> str:
        """The twin of the headlines: `pressured`, or the only twin of a suite without it."""
        return PRESSURED if PRESSURED in self.twins or len(self.twins) != 1 else self.twins[0]

    def cell(self, arm: str, family: str, twin: str) -> Cell:
        """The cell of a family; an empty one if the file has none."""
        return self.cells.get(arm, {}).get(family, {}).get(twin, Cell())

    def skeleton(self, arm: str, world: str, twin: str) -> Cell:
        """The cell of one skeleton of a family; an empty one if the file has none."""
        return self.skeletons.get(arm, {}).get(world, {}).get(twin, Cell())

    def split(self, arm: str, split: str, twin: str) -> Cell:
        """The pooled cell of a split; an empty one if the file has none."""
        return self.splits.get(arm, {}).get(split, {}).get(twin, Cell())

    def title(self, arm: str) -> str:
        """The title of an arm, or its name if it has no title."""
        return next((a.title for a in self.arms if a.name == arm and a.title), arm)
