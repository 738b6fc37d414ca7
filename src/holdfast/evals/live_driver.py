"""Plays episodes against a model that answers requests one by one, each episode at its own pace.

    async for index, transcript in stream(cases, ask): ...

What `batch_driver` does in rounds is done here without them: an answer that takes a minute delays its own episode only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import islice

from holdfast.core.errors import HoldfastError
from holdfast.core.records import Case, Message, Transcript
from holdfast.models.base import Output, Request
from holdfast.scenarios.episode import Episode, Gates

Ask = Callable[[Request], Awaitable[Output]]


async def stream_async(
    cases: Sequence[Case],
    ask: Ask,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    at_once: int = 64,
    gates: Gates | None = None,
) -> AsyncGenerator[tuple[int, Transcript]]:
    """Play every case once and hand out the transcripts as they end.

    Args:
        cases: what to play.
        ask: one turn; what it raises that is not ours ends its sample as `error`.
        max_tokens: most tokens of one turn, where not what the case says.
        temperature: 0 is greedy.
        at_once: most episodes open at a time.
        gates: case → what is asked before each of its acts.

    Yields:
        Place in `cases` and Transcript.

    Raises:
        HoldfastError: `ask` can answer no more.  No episode was begun after that, and those that could end have ended.
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


async def _played(index: int, episode: Episode, ask: Ask) -> tuple[int, Transcript]:
    while (request := episode.request()) is not None:
        try:
            output = await ask(request)
        except HoldfastError:
            raise
        except Exception as error:  # anything may come out of a model; the sample keeps the reason
            output = Output(Message(role="assistant"), "error", error=f"{type(error).__name__}: {error}")
        episode.take(output)
    return index, episode.transcript()
