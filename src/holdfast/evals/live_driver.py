"""Plays episodes against a model that answers requests one by one; each episode proceeds on its own.

    async for index, transcript in stream(cases, ask): ...

Unlike `batch_driver` it has no rounds: an answer that takes a minute delays only its own episode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import islice

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Case, Message, Transcript
from holdfast.models.base import Output, Request
from holdfast.scenarios.episode import Episode, Gates

AskAsync = Callable[[Request], Awaitable[Output]]


async def stream_async(
    cases: Sequence[Case],
    ask: AskAsync,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    at_once: int = 64,
    gates: Gates | None = None,
) -> AsyncGenerator[tuple[int, Transcript]]:
    """Play every case once and yield the transcripts as they end.

    Args:
        cases: the cases.
        ask: answers one request; an exception that is not a HoldfastError ends its sample as `error`.
        max_tokens: maximum tokens of one turn; by default that of the case.
        temperature: 0 is greedy.
        at_once: maximum number of open episodes.
        gates: case → the check before each of its acts.

    Yields:
        The index in `cases` and the Transcript.

    Raises:
        HoldfastError: `ask` refused further requests.  No episode was started after that; open ones were finished.
    """
    waiting = enumerate(cases)
    open_: set[asyncio.Task[tuple[int, Transcript]]] = set()
    failure: BaseException | None = None
    try:
        while True:
            for index, case in islice(waiting, 0 if failure else at_once - len(open_)):
                gate = gates(case) if gates else None
                episode = Episode(case, max_tokens=max_tokens, temperature=temperature, gate=gate)
                open_.add(asyncio.create_task(_played(index, episode, ask)))
            if not open_:
                break
            done, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failure = task.exception() or failure
                if not task.exception():
                    yield task.result()
    finally:
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
    if failure:
        raise failure


async def _played(index: int, episode: Episode, ask: AskAsync) -> tuple[int, Transcript]:
    while (request := episode.request()) is not None:
        try:
            output = await ask(request)
        except HoldfastError:
            raise
        except Exception as error:  # a model may raise anything; the sample records the reason
            output = Output(Message(role="assistant"), "error", error=f"{type(error).__name__}: {error}")
        episode.take(output)
    return index, episode.transcript()
