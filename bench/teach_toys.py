"""Fixtures of the teaching benchmarks: a teacher that answers at once, a recipe of one stage, a word tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from holdfast.core.records import Message
from holdfast.data.recipes import Recipe, load_recipe
from holdfast.data.stages import load_stages
from holdfast.models.base import Output, Request

#: Tokens of an example: two words, and the start and end of a document.
TOKENS = 4
_STAGE = "---\nname: say\nfields: [text]\n---\n# bench: say\n\nSay something about {kind}.\n\n## Language\n{language}\n"


class Echo:
    """Answers at once with a unique text: the request's seed."""

    name, identity = "bench/echo", "echo"

    async def ask(self, request: Request) -> Output:
        """Return the answer to one request."""
        return Output(Message(role="assistant", content=f"text: {request.case} said."), tokens=(40, 10))

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return the answers in the order of the requests."""
        raise NotImplementedError("it is asked one by one")


def one_stage() -> Recipe:
    """Return a recipe with one stage, whose examples have `TOKENS` tokens each."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "bench" / "1-say.md"
        stage.parent.mkdir()
        stage.write_text(_STAGE)
        stages = tuple(load_stages(stage.parent, {"kind", "language"}))
    plain = load_recipe("plain-chat")
    file = plain.file.model_copy(update={"form": "document", "axes": {}, "checks": ()})
    return replace(plain, name="bench", file=file, stages=stages, axes={"kind": ("tea", "rain", "rope")})


def tokenizer(folder: Path) -> Path:
    """Write a word tokenizer into a folder."""
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    made.save(str(path))
    return path
