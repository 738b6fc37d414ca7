"""What a measurement takes, before anything is paid: cells, samples, tokens, money and time.

A sample is walked as an agent goes that reads all mail, does the job and stops; each request on that way is counted.
A model on disk counts with its own tokenizer, exactly.  For any other, characters are counted and divided by four:
vendors' tokenizers are taken to put between three and five characters of English into a token, which gives the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol, runtime_checkable

from holdfast.core.records import Case, Message, Record, ToolCall, ToolSpec
from holdfast.evals.batch_driver import play
from holdfast.evals.judge import RUBRICS, question
from holdfast.evals.quote_transcript import quoted
from holdfast.models.base import Model, Output, Request
from holdfast.models.prices import Money, price
from holdfast.models.registry import DOORS
from holdfast.scenarios.episode import Episode
from holdfast.study.measure import Grid, Judging, Order

#: Characters of a token of English: what is reckoned with, and the bounds.
_CHARACTERS, _FEWEST, _MOST = 4, 3, 5
#: Tokens that a judge is taken to write: four lines, and what it thinks before them.
_JUDGED = 300
#: Tokens that a model is taken to write in a turn; seconds that an answer takes, and tokens in each further second.
WRITTEN = 300
_SECONDS, _TOKENS_A_SECOND = 1.0, 50.0
AT_ONCE = 64


@runtime_checkable
class Counts(Protocol):
    """A model that knows how many tokens a request has."""

    def count(self, request: Request) -> int:
        """Tokens of a request, as the model reads them."""
        ...


class ArmEstimate(Record):
    """One arm: its cells, samples and requests; tokens of all opening prompts, and of everything read on the way."""

    arm: str
    cells: int
    samples: int
    requests: int
    prompts: int
    read: int


class JudgeEstimate(Record):
    """What the judge takes at most: each rubric about every sample, in one view, for a model that shows no reasoning.

    Effects settle some of it; how much, only the run tells.
    """

    name: str
    requests: int
    read: int
    written: int
    dollars: Money


class Estimate(Record):
    """What a measurement takes.

    Attributes:
        counter: how tokens were counted.
        error: bounds of the true number of tokens, as shares of the counted one; (1, 1) where it is exact.
        written: tokens written, at so many a turn as is assumed.
        dollars: by the price table, at the counted number of tokens.
        seconds: of a model on this machine, from one episode played alone, so rather too long; else as assumed.
    """

    model: str
    cells: int
    samples: int
    requests: int
    prompts: int
    read: int
    written: int
    counter: str
    error: tuple[float, float]
    dollars: Money
    seconds: float
    arms: tuple[ArmEstimate, ...]
    judge: JudgeEstimate | None = None


def estimate(order: Order, grid: Grid, model: Model, prices: Path | None = None) -> Estimate:
    """Estimate an order.

    Args:
        order: what is to be measured.
        grid: its cells, laid out.
        model: opened under the order's name.
        prices: a file of prices that comes before ours.

    Raises:
        InputError: no price is known for the model.
    """
    exact = isinstance(model, Counts)
    count = model.count if isinstance(model, Counts) else _by_characters
    arms = tuple(_arm(order, arm, grid.cases[arm], count) for arm in (plan.arm for plan in grid.plan.cells))
    samples, requests = sum(arm.samples for arm in arms), sum(arm.requests for arm in arms)
    read, written = sum(arm.read for arm in arms), requests * WRITTEN
    own = order.model.partition("/")[0] in DOORS
    return Estimate(
        model=order.model,
        cells=sum(arm.cells for arm in arms),
        samples=samples,
        requests=requests,
        prompts=sum(arm.prompts for arm in arms),
        read=read,
        written=written,
        counter="the model's own tokenizer" if exact else f"characters / {_CHARACTERS}",
        error=(1, 1) if exact else (round(_CHARACTERS / _MOST, 2), round(_CHARACTERS / _FEWEST, 2)),
        dollars=round(price(order.model, read, written, table=prices), 4),
        seconds=round(_probe(grid, model) * samples if own else _assumed(requests), 1),
        arms=arms,
        judge=_judge(order.judging, grid, prices) if order.judging else None,
    )


def _judge(judging: Judging, grid: Grid, prices: Path | None) -> JudgeEstimate:
    """The judge on the transcripts of an agent that does the job."""
    records = [
        quoted(list(_walk(case))[-1].messages, reasoning=False) for cases in grid.cases.values() for case in cases
    ]
    asked = [question(rubric, record) for record in records for rubric in RUBRICS]
    read, written = sum(map(_by_characters, asked)), len(asked) * _JUDGED
    dollars = round(price(judging.name, read, written, table=prices), 4)
    return JudgeEstimate(name=judging.name, requests=len(asked), read=read, written=written, dollars=dollars)


def _arm(order: Order, arm: str, cases: Sequence[Case], count: Callable[[Request], int]) -> ArmEstimate:
    walks = [[count(request) for request in _walk(case)] for case in cases]
    return ArmEstimate(
        arm=arm,
        cells=len(order.suite.worlds) * len(order.suite.twins),
        samples=len(walks),
        requests=sum(map(len, walks)),
        prompts=sum(walk[0] for walk in walks),
        read=sum(map(sum, walks)),
    )


def _walk(case: Case) -> Iterator[Request]:
    """The requests of an episode: one for the list of mails, one for the mails, one for the job and one for the end."""
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
    said = sum(
        len(message.content) + sum(len(str(dict(c.arguments))) for c in message.tool_calls)
        for message in request.messages
    )
    return (said + sum(map(_described, request.tools))) // _CHARACTERS


def _described(tool: ToolSpec) -> int:
    return (
        len(tool.name) + len(tool.description) + sum(len(name) + len(means) for name, means in tool.parameters.items())
    )


def _probe(grid: Grid, model: Model) -> float:
    """Seconds of one sample, from the first case of the first arm played alone."""
    first = next(iter(grid.cases.values()))[:1]
    start = perf_counter()
    play(first, model)
    return perf_counter() - start


def _assumed(requests: int) -> float:
    return requests * (_SECONDS + WRITTEN / _TOKENS_A_SECOND) / AT_ONCE
