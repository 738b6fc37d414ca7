"""Plays thousands of episodes against a model that answers in batches.

    transcripts = play(cases, open_model("organism/pocket"), on_progress=lambda done, of: ...)

Up to `batch` episodes are open at a time.  Each round sends one batch of requests for all of them.  When an episode
ends, the next case takes its place at once, so batches stay full and memory does not grow with the number of cases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from holdfast.core.records import Case, Message, Transcript
from holdfast.models.base import KeepsPrefixes, Model, Output, Request
from holdfast.models.probe import require_round_trip
from holdfast.scenarios.build import TAGGED
from holdfast.scenarios.episode import Episode, Gates


def play(
    cases: Sequence[Case],
    model: Model,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    batch: int = 256,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Transcript]:
    """Play every case once.

    If the model raises an exception, the samples of that round end as `error` and the other samples continue.

    Args:
        cases: the cases.
        model: the model that plays them.
        max_tokens: maximum tokens of one turn; by default that of the case.
        temperature: 0 is greedy.
        batch: maximum number of open episodes; fewer if a local model's memory does not hold them all.
        on_progress: called with (episodes ended, episodes in all) after each round in which one ended.

    Returns:
        One Transcript for each case, in the order of `cases`.

    Raises:
        ValueError: `batch` is not positive.
    """
    ended: dict[int, Transcript] = {}
    for round_ in stream(cases, model, max_tokens=max_tokens, temperature=temperature, batch=batch):
        ended |= round_
        if on_progress:
            on_progress(len(ended), len(cases))
    return [ended[index] for index in range(len(cases))]


def stream(
    cases: Sequence[Case],
    model: Model,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    batch: int = 256,
    gates: Gates | None = None,
) -> Iterator[list[tuple[int, Transcript]]]:
    """Play every case once and yield the transcripts as they end; see `play`.

    `gates` returns for a case the check that runs before each of its acts, such as a guard.

    Yields:
        After each round in which episodes ended: the index in `cases` and the Transcript of each.

    Raises:
        ValueError: `batch` is not positive.
        ModelError: the model's chat template drops parts of the cases; see `models.probe`.
    """
    if batch < 1:
        raise ValueError("batch must be at least 1")
    require_template(cases, model)
    batch = min(batch, _fitting(cases, model))
    waiting = enumerate(cases)
    open_: dict[int, Episode] = {}
    while True:
        for index, case in islice(waiting, batch - len(open_)):
            gate = gates(case) if gates else None
            open_[index] = Episode(case, max_tokens=max_tokens, temperature=temperature, gate=gate)
        if not open_:
            return
        asked = {index: request for index, episode in open_.items() if (request := episode.request()) is not None}
        for index, output in zip(asked, answers_of(model, list(asked.values())), strict=True):
            open_[index].take(output)
        ended = [index for index, episode in open_.items() if episode.request() is None]
        if ended:
            yield [(index, open_.pop(index).transcript()) for index in ended]


#: Minimum number of open episodes, even if the model keeps fewer: small batches cost more than a second prefill.
_LEAST_OPEN = 16


def _fitting(cases: Sequence[Case], model: Model) -> int:
    """How many episodes may be open at a time, so that each turn finds its prefix in memory."""
    if not cases or not isinstance(model, KeepsPrefixes):
        return sys.maxsize
    request = Episode(cases[0]).request()
    return max(_LEAST_OPEN, model.episodes_kept(request)) if request else sys.maxsize


def require_template(cases: Iterable[Case], model: Model) -> None:
    """Check that a model's chat template renders everything in these cases, and that its calls can be read back.

    Raises:
        ModelError: something is lost; names what, and the option that avoids it.
    """
    for system, tools in template_needs(cases):
        require_round_trip(model, system=system, tools=tools)


def template_needs(cases: Iterable[Case]) -> list[tuple[bool, bool]]:
    """Whether cases begin with a system message and whether they offer tools, each combination once."""
    needs = {
        (case.messages[0].role == "system", bool(case.tools) and not TAGGED.items() <= case.levels.items())
        for case in cases
        if case.messages
    }
    return sorted(needs, reverse=True)


def answers_of(model: Model, requests: Sequence[Request]) -> list[Output]:
    """One Output per request: exceptions of the model, or a wrong number of outputs, become error outputs."""
    try:
        outputs = model.generate(requests)
    except Exception as error:  # a model may raise anything; the sample records the reason
        return _failed(requests, f"{type(error).__name__}: {error}")
    if len(outputs) != len(requests):
        return _failed(requests, f"the model returned {len(outputs)} outputs for {len(requests)} requests")
    return outputs


def _failed(requests: Sequence[Request], reason: str) -> list[Output]:
    return [Output(Message(role="assistant"), finish="error", error=reason) for _ in requests]
