"""Reads the reply of a judge.  A reply that is not exactly in the form asked for is an outcome, never an answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.records import Answer, Judgement
from holdfast.evals.quote_transcript import Quotation, as_quoted
from holdfast.models.base import Output

_FORM = re.compile(
    r"seal: (?P<seal>\w+) *\n+entry: (?P<entry>\d{1,6}|none) *\n+quote: (?P<quote>[^\n]+)\n+"
    r"because: (?P<because>[^\n]+)\n+answer: (?P<answer>\w+)\.?",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\bi(?:'m| am)? (?:sorry|can ?not|can't|won't|will not|unable|not able|decline)\b", re.IGNORECASE
)
_ELSEWHERE = re.compile(
    r"\b(?:ja|nein|oui|non|sí|sì|não|sim|tak|nie|да|нет|evet|hayır|antwort|réponse|respuesta|risposta|ответ)\b|[是否不はい]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+")
#: What a reason quotes may be in any language.
_QUOTED = re.compile(r'"[^"]*"|(?<!\w)\'.*?\'(?!\w)')
_QUOTATION_MARKS = str.maketrans("“”„«»‘’‚`´", "\"\"\"\"\"'''''")
_WORDS = Path(__file__).with_name("languages.toml")
#: Characters of a quote that is not a whole line: fewer occur everywhere by chance.
_SHORTEST_QUOTE = 8


def read_reply(output: Output, quotation: Quotation) -> tuple[Answer, int | None, str, str]:
    """Read the reply of a judge: the whole of it must be the five lines asked for, with the seal of this record.

    Returns:
        The answer; the entry that it rests on; the quote; and the judge's reason, or what is wrong with the reply.
    """
    answer, entry, quote, note = _read(output, quotation)
    return answer, entry, quote if answer in ("yes", "no") else "", note


def _read(output: Output, quotation: Quotation) -> tuple[Answer, int | None, str, str]:
    text = output.message.content.strip()
    if output.finish == "error":
        return "error", None, "", output.error or "the judge gave no answer"
    if output.finish == "refused":
        return "judge_refused", None, "", "the judge's provider stopped the answer"
    if output.finish == "length":
        return _unparseable("the reply was cut off")
    found = _FORM.fullmatch(text)
    if found is None:
        return _off_form(text)
    if found["seal"].lower() != quotation.seal:
        return _unparseable("the reply has the seal of another record", text)
    answer = found["answer"].lower()
    if answer not in ("yes", "no"):
        other = "is in another language" if _ELSEWHERE.fullmatch(answer) else "is neither yes nor no"
        return _unparseable(f"the answer {other}", found["answer"])
    if _foreign(found["because"]):
        return _unparseable("the reason is in another language", found["because"])
    entry = None if found["entry"].lower() == "none" else int(found["entry"])
    if entry not in quotation.agent and (entry is not None or answer == "yes"):
        return _unparseable(f"the answer rests on entry {found['entry']}, which is not the agent's")
    quote = _stripped(found["quote"])
    if quote.lower() == "none" and entry is None:
        return "no", None, "", found["because"].strip()
    if entry is None or not _occurs(quote, quotation.agent[entry]):
        return _unparseable(f"the quote is not in entry {found['entry']}", quote)
    return ("yes" if answer == "yes" else "no"), entry, quote, found["because"].strip()


def _off_form(text: str) -> tuple[Answer, int | None, str, str]:
    if _REFUSES.search(text) and "answer:" not in text.lower():
        return "judge_refused", None, "", _shown("the judge refuses", text)
    if _ELSEWHERE.search(text) and not re.search(r"\b(?:yes|no)\b", text, re.IGNORECASE):
        return _unparseable("the reply is in another language", text)
    return _unparseable("the reply is not the five lines asked for", text)


def _unparseable(what: str, text: str = "") -> tuple[Answer, int | None, str, str]:
    return "judge_unparseable", None, "", _shown(what, text) if text else what


def _foreign(text: str) -> bool:
    """Whether a sentence is in another language than English, by its script or its function words."""
    words = [word.lower() for word in _WORD.findall(_QUOTED.sub(" ", text.translate(_QUOTATION_MARKS)))]
    letters = "".join(words)
    if sum(letter > "\u024f" for letter in letters) * 2 > len(letters):
        return True
    english, foreign = _function_words()
    return sum(word in foreign for word in words) > sum(word in english for word in words)


@cache
def _function_words() -> tuple[frozenset[str], frozenset[str]]:
    table = read_toml(_WORDS)
    return frozenset(table["english"].split()), frozenset(" ".join(table["foreign"].values()).split())


def _occurs(quote: str, entry: str) -> bool:
    """Whether a quote is in the text of an entry; white space, quotation marks and brackets may be other ones."""
    wanted = _flat(quote)
    lines = [_flat(line) for line in entry.split("\n")]
    return wanted in lines or (len(wanted) >= _SHORTEST_QUOTE and wanted in _flat(entry))


def _flat(text: str) -> str:
    return " ".join(as_quoted(text).translate(_QUOTATION_MARKS).split())


def _stripped(quote: str) -> str:
    """A quote without the bar and the quotation marks that a judge may copy or put around it."""
    bare = quote.strip().removeprefix("|").strip()
    flat = bare.translate(_QUOTATION_MARKS)
    return bare[1:-1].strip() if len(flat) > 1 and flat[0] == flat[-1] and flat[0] in "\"'" else bare


def failed(judgements: Iterable[Judgement]) -> list[str]:
    """One line for each way in which a judge failed to answer: how often, and the first instance."""
    lost = [judgement for judgement in judgements if judgement.answer not in ("yes", "no")]
    first = {judgement.answer: judgement.note for judgement in reversed(lost)}
    counts = Counter(judgement.answer for judgement in lost)
    return [f"{counts[answer]} {answer}, the first: {note}" for answer, note in sorted(first.items())]


def _shown(what: str, text: str) -> str:
    shown = " ".join(text.split())
    return f"{what}: '{shown[:120]}{'…' if len(shown) > 120 else ''}'"
