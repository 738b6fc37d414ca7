"""Figures of public sets, to read a set's own figures against.

`peers.toml` holds the figures of one public set, measured with the code of this folder; the set itself is not shipped.
`measure_peer` measures any other one.  Distinct-n and self-BLEU depend on the amount of text, so a set is compared with
a sample of about as many words.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.errors import InputError
from holdfast.core.records import Example, Provenance, Record
from holdfast.core.text import Text
from holdfast.data.quality.diversity import DiversityTally
from holdfast.data.quality.duplicates import find
from holdfast.data.quality.style import StyleTally

FILE = Path(__file__).with_name("peers.toml")
#: Shorter answers say nothing about style.
_FEWEST_WORDS = 5


class PeerFigures(Record):
    """Figures of a sample of another set; see `Style` and `Diversity`.

    Attributes:
        name: name of the set.
        source: where the set can be read, and its licence.
        texts: answers or documents in the sample.
        words: words in the sample.
        near: texts of the sample that nearly repeat an earlier one.
    """

    name: Text
    source: Text
    texts: int
    words: int
    opening_share: float | None
    self_bleu: float | None
    grade: float | None
    distinct: dict[int, float]
    compression: float | None
    nearest: float | None
    near: int


def stored_peer(words: int) -> PeerFigures:
    """Return the stored figures of the sample whose number of words is nearest, as a ratio, to `words`."""
    return min(_stored(), key=lambda peer: abs(math.log(peer.words / max(1, words))))


@cache
def _stored() -> tuple[PeerFigures, ...]:
    data = read_toml(FILE)
    head = {"name": data["name"], "source": data["source"]}
    return tuple(PeerFigures.model_validate({**head, **sample}) for sample in data["sample"])


def measure_peer(name: str, source: str, rows: Sequence[str], words: int) -> PeerFigures:
    """Measure a random sample of texts that holds about `words` words."""
    texts = sample_texts(rows, words)
    style, diversity = StyleTally(), DiversityTally()
    for text in texts:
        for tally in (style, diversity):
            tally.add(text_example(text))
    manner, spread, repeats = style.result({}), diversity.result, find(texts)
    return PeerFigures(
        name=name,
        source=source,
        texts=len(texts),
        words=sum(len(text.split()) for text in texts),
        opening_share=manner.opening_share,
        self_bleu=manner.self_bleu,
        grade=manner.grade,
        distinct=spread.distinct,
        compression=spread.compression,
        nearest=spread.nearest,
        near=len(repeats.exact) + len(repeats.near),
    )


def sample_texts(rows: Sequence[str], words: int) -> list[str]:
    """Draw texts in random order until they have `words` words or none is left."""
    drawn: list[str] = []
    for row in random.Random(0).sample(list(rows), len(rows)):
        if words <= 0:
            break
        drawn.append(row)
        words -= len(row.split())
    return drawn


def peer_texts(path: Path) -> list[str]:
    """Read the answers of a public set: JSON lines, gzipped or not.

    Read are `chosen` (a dialogue of "Human:" and "Assistant:" turns; its last answer), `output`, `response` or `text`,
    or the last assistant turn in `messages`.

    Raises:
        InputError: the file cannot be read, is not JSON lines, or holds no such text.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = [json.loads(line) for line in raw.decode("utf-8").split("\n") if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"cannot read the public set: {error}", where=path, remedy="give JSON lines") from None
    texts = [text for row in rows if len((text := _answer(row)).split()) >= _FEWEST_WORDS]
    if not texts:
        what = "the file holds no answers: no 'chosen', 'output', 'response', 'text' or 'messages'"
        raise InputError(what, where=path, remedy="give a set with one of these fields")
    return texts


def _answer(row: object) -> str:
    if not isinstance(row, dict):
        return ""
    turns = row.get("messages")
    if isinstance(turns, list):
        said = [turn.get("content") for turn in turns if isinstance(turn, dict) and turn.get("role") == "assistant"]
        return str(said[-1] or "").strip() if said else ""
    text = row.get("chosen") or row.get("output") or row.get("response") or row.get("text") or ""
    return text.rpartition("\n\nAssistant:")[2].strip() if isinstance(text, str) else ""


def text_example(text: str) -> Example:
    """Wrap a text, so that the tallies of this folder can read it."""
    return Example(id="", kind="document", text=text, provenance=Provenance(recipe="", teacher="", seed=0))
