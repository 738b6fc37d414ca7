"""Helpers for the tests of teaching data: a faulty teacher, a word tokenizer, and a run that writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from tokenizers import Tokenizer, models, pre_tokenizers

from holdfast.core.records import Message
from holdfast.data.engine import Draft, Engine, Roles, RunLimits
from holdfast.data.recipes import Recipe
from holdfast.models.base import Model, Output, Request
from holdfast.models.pool import RateLimits
from holdfast.models.registry import open_model

Change = Callable[[str, Request], "str | None"]


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


class Meddler:
    """The pocket author with some stages changed: for those, `change(answer, request)` gives the answer.

    A change that returns None stands for a refusal by the provider.
    """

    name = "toy/meddler"
    identity = "toy"

    def __init__(self, changes: Mapping[str, Change], behind: Model | None = None) -> None:
        self.changes, self.behind = changes, behind or open_model("pocket/author")
        self.seen: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        self.seen += requests
        return [self._one(r, o) for r, o in zip(requests, self.behind.generate(requests), strict=True)]

    def _one(self, request: Request, output: Output) -> Output:
        change = self.changes.get(stage_of(request))
        if change is None:
            return output
        answer = change(output.message.content, request)
        message = Message(role="assistant", content=answer or "")
        return replace(output, message=message, finish="stop" if answer is not None else "refused")


def stage_of(request: Request) -> str:
    """Return the heading of a prompt."""
    return request.messages[-1].content.split("\n")[0].removeprefix("# ")


def produce(recipe: Recipe, teacher: Model, seed: int, count: int) -> list[Draft]:
    """The first `count` drafts of a recipe, dropped ones included; writes nothing."""

    async def first() -> list[Draft]:
        drafts: list[Draft] = []
        engine = Engine(recipe, Roles((teacher,)), seed, None, RunLimits(RateLimits(at_once=count)))
        async with aclosing(engine.items()) as items:
            async for item in items:
                drafts.append(item)
                if len(drafts) == count:
                    break
        return drafts

    return asyncio.run(first())
