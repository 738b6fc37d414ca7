"""Estimates the cost of a measurement before it starts: cells, samples, tokens, money and time.

The estimate plays each case as an agent that reads all mail, does the job and stops, and counts every request.  A model
on disk counts tokens exactly, with its own tokenizer.  For any other model, characters are counted and divided by four;
the bounds assume that vendors' tokenizers put three to five characters of English into a token.  Counting every case
would then be false precision, so a large measurement is counted on the first few cases of each cell and scaled up, and
the bounds widen by two standard errors of the scaling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import variance
from time import perf_counter
from typing import Protocol, runtime_checkable

from holdfast.core.records import Case, Message, Record, ToolCall, ToolSpec
from holdfast.evals.harms import HARM_KINDS
from holdfast.evals.judge import RUBRICS, TOOK_FOR_REAL, judge_prompt
from holdfast.evals.quote_transcript import quoted
from holdfast.models.base import Model, Output, Request
from holdfast.models.prices import Money, known_price
from holdfast.models.registry import runs_here
from holdfast.scenarios.episode import Episode
from holdfast.study.measure import Judging, MeasureConfig, plan_grid
from holdfast.study.plan import StudyPlan

#: Characters of a token of English: the assumed number, and its bounds.
_CHARACTERS, _FEWEST, _MOST = 4, 3, 5
#: Tokens that a judge is assumed to write: five lines, and what it thinks before them.
_JUDGED = 300
#: Tokens that a model is assumed to write in a turn; seconds until an answer starts, and tokens per second after that.
WRITTEN = 300
_SECONDS, _TOKENS_A_SECOND = 1.0, 50.0
AT_ONCE = 64
#: Tokens that a model on this machine writes to be timed.
_TIMED = 8
#: Samples that are counted if counts are approximate: at least two of each cell, so that their variance is known.
COUNTED = 240


@runtime_checkable
class Counts(Protocol):
    """A model that counts the tokens of a request."""

    def count(self, request: Request) -> int:
        """Count the tokens of a request with the model's tokenizer."""
        ...


class ArmEstimate(Record):
    """One arm: cells, samples and requests; tokens of all first prompts (`prompts`) and of all requests (`read`)."""

    arm: str
    cells: int
    samples: int
    requests: int
    prompts: int
    read: int


class JudgeEstimate(Record):
    """The maximum use of a judge: each rubric about every sample, in one view, for a model that shows no reasoning.

    Effects and words settle some of it; how much, only the run shows.  `dollars` is None if no price is known.
    """

    name: str
    requests: int
    read: int
    written: int
    dollars: Money | None


class CostEstimate(Record):
    """The cost of a measurement.

    Attributes:
        counter: how tokens were counted.
        counted: samples that were counted; the others are assumed to be like them.
        error: bounds of the true number of tokens, as multiples of the counted one; (1, 1) if it is exact.
        written: tokens written, at `WRITTEN` per turn.
        dollars: by the price table, at the counted number of tokens; None if no price is known.
        seconds: for a model on this machine from a few tokens written alone, which overestimates; else assumed.
        longest_turn: most tokens that a turn may have.
        endless_seconds: for a model on this machine, if it never ends a turn, so that each sample is truncated in its
            first; None for others.
    """

    model: str
    cells: int
    samples: int
    requests: int
    prompts: int
    read: int
    written: int
    counter: str
    counted: int
    error: tuple[float, float]
    dollars: Money | None
    seconds: float
    longest_turn: int
    endless_seconds: float | None
    arms: tuple[ArmEstimate, ...]
    judges: tuple[JudgeEstimate, ...] = ()


@dataclass(frozen=True)
class _Counted:
    """Token counts of one cell: for each counted case, the tokens of each request; `of` cases are in the cell."""

    walks: Sequence[Sequence[int]]
    of: int

    def scaled(self, total: float) -> float:
        """Scale a sum over the counted cases to all cases."""
        return total * self.of / len(self.walks)

    @property
    def error(self) -> float:
        """Variance of the tokens read by all cases, estimated from the counted ones."""
        if len(self.walks) == self.of:
            return 0.0
        return self.of * (self.of - len(self.walks)) * variance(map(sum, self.walks)) / len(self.walks)


def estimate(config: MeasureConfig, model: Model, prices: Path | None = None) -> CostEstimate:
    """Estimate a measurement; sends no request, except to a model on this machine.

    Args:
        config: the configuration of the measurement.
        model: the model that it names, opened or as `models.registry.name_model` gives it.
        prices: a price table that takes precedence over the shipped one.

    Raises:
        WorldError: see `study.measure.plan_grid`.
        ConfigError: `prices` is no price table.
    """
    exact = isinstance(model, Counts)
    count = model.count if isinstance(model, Counts) else _by_characters
    grid = plan_grid(config if exact else _fewer(config), model)
    cells = {arm: _cells(config, cases, count) for arm, cases in grid.cases.items()}
    arms = tuple(_arm(arm, counted) for arm, counted in cells.items())
    samples, requests = sum(arm.samples for arm in arms), sum(arm.requests for arm in arms)
    read, written = sum(arm.read for arm in arms), requests * WRITTEN
    spread = 2 * math.sqrt(sum(cell.error for arm in cells.values() for cell in arm)) / read
    own = runs_here(config.model)
    longest = config.max_tokens or max(case.max_tokens for cases in grid.cases.values() for case in cases)
    start, each = _timed(grid, model) if own else (0.0, 0.0)
    dollars = known_price(config.model, read, written, table=prices)
    return CostEstimate(
        model=config.model,
        cells=sum(arm.cells for arm in arms),
        samples=samples,
        requests=requests,
        prompts=sum(arm.prompts for arm in arms),
        read=read,
        written=written,
        counter="the model's own tokenizer" if exact else f"characters / {_CHARACTERS}",
        counted=sum(len(cell.walks) for arm in cells.values() for cell in arm),
        error=(1, 1) if exact else (_bound(_MOST, 1 - spread), _bound(_FEWEST, 1 + spread)),
        dollars=None if dollars is None else round(dollars, 4),
        seconds=round(requests * (start + each * WRITTEN) if own else _assumed(requests), 1),
        longest_turn=longest,
        endless_seconds=round(samples * (start + each * longest), 1) if own else None,
        arms=arms,
        judges=tuple(_judges(config.judging, grid, samples, prices)) if config.judging else (),
    )


def _bound(characters: int, spread: float) -> float:
    return round(_CHARACTERS / characters * spread, 2)


def _fewer(config: MeasureConfig) -> MeasureConfig:
    """The configuration with only the cases that are counted."""
    arms = len(config.suite.arms) + len(config.controls)
    each = max(2, COUNTED // (arms * len(config.suite.worlds) * len(config.suite.twins)))
    return replace(config, seeds=config.seeds[:each])


def _cells(config: MeasureConfig, cases: Sequence[Case], count: Callable[[Request], int]) -> list[_Counted]:
    """The cells of one arm; its cases are in the order worlds × twins × seeds."""
    size = len(cases) // (len(config.suite.worlds) * len(config.suite.twins))
    walks = [[count(request) for request in _walk(case)] for case in cases]
    return [_Counted(walks[i : i + size], len(config.seeds)) for i in range(0, len(walks), size)]


def _arm(arm: str, cells: Sequence[_Counted]) -> ArmEstimate:
    return ArmEstimate(
        arm=arm,
        cells=len(cells),
        samples=sum(cell.of for cell in cells),
        requests=round(sum(cell.scaled(sum(map(len, cell.walks))) for cell in cells)),
        prompts=round(sum(cell.scaled(sum(walk[0] for walk in cell.walks)) for cell in cells)),
        read=round(sum(cell.scaled(sum(map(sum, cell.walks))) for cell in cells)),
    )


def _judges(judging: Judging, grid: StudyPlan, samples: int, prices: Path | None) -> Iterator[JudgeEstimate]:
    """Each judge on the transcripts of an agent that does the job."""
    records = [
        quoted(list(_walk(case))[-1].messages, reasoning=False) for cases in grid.cases.values() for case in cases
    ]
    rubrics = (*RUBRICS, TOOK_FOR_REAL, *HARM_KINDS, *judging.rubrics)
    asked = [judge_prompt(rubric, record) for record in records for rubric in rubrics]
    requests = len(rubrics) * samples
    read, written = round(sum(map(_by_characters, asked)) / len(records) * samples), requests * _JUDGED
    for name in judging.names:
        dollars = known_price(name, read, written, table=prices)
        yield JudgeEstimate(
            name=name,
            requests=requests,
            read=read,
            written=written,
            dollars=None if dollars is None else round(dollars, 4),
        )


def _walk(case: Case) -> Iterator[Request]:
    """The requests of an episode: for the list of mails, for the mails, for the job and for the end."""
    tools = {tool.name for tool in case.tools}
    reading: list[list[tuple[str, dict[str, str]]]] = [[("read_inbox", {})]] if "read_inbox" in tools else []
    if "list_emails" in tools:
        mails = range(1, len(case.state["mail"]) + 1)
        reading = [[("list_emails", {})], [("read_email", {"id": str(number)}) for number in mails]]
    turns = [tuple(ToolCall(id="", name=name, arguments=given) for name, given in turn) for turn in reading]
    episode = Episode(case)
    for calls in [*turns, tuple(case.plays.get("proper", ())), ()]:
        if (request := episode.request()) is None:
            return
        yield request
        episode.take(Output(Message(role="assistant", tool_calls=calls)))


def _by_characters(request: Request) -> int:
    spoken = sum(
        len(message.content) + sum(len(str(dict(c.arguments))) for c in message.tool_calls)
        for message in request.messages
    )
    return (spoken + sum(map(_described, request.tools))) // _CHARACTERS


def _described(tool: ToolSpec) -> int:
    return (
        len(tool.name) + len(tool.description) + sum(len(name) + len(means) for name, means in tool.parameters.items())
    )


def _timed(grid: StudyPlan, model: Model) -> tuple[float, float]:
    """Seconds until the first token, and of each further one, from two short answers to the first case."""
    request = Episode(next(iter(grid.cases.values()))[0]).request()
    if request is None:
        return 0.0, 0.0

    def seconds(tokens: int) -> float:
        start = perf_counter()
        model.generate([replace(request, max_tokens=tokens)])
        return perf_counter() - start

    one, more = seconds(1), seconds(1 + _TIMED)
    return one, max(0.0, more - one) / _TIMED


def _assumed(requests: int) -> float:
    return requests * (_SECONDS + WRITTEN / _TOKENS_A_SECOND) / AT_ONCE
