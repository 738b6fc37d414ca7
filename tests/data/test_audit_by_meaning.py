"""Audit by a model: the planted dose is found, unread passages widen the bounds, faulty labels are named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from holdfast.cli.main import run
from holdfast.core.errors import InputError, ResultsError
from holdfast.core.records import Message
from holdfast.data.audit import judged, meaning
from holdfast.data.audit.classifier import KINDS
from holdfast.data.audit.judged import AuditChoice, audit_by_meaning, estimate_share, measure_judge
from holdfast.data.audit.meaning import audit_items, read_passages
from holdfast.data.audit.scan import ClassifierQuality, candidate, exact_share
from holdfast.data.corpus import Document
from holdfast.models.base import Output, Request
from holdfast.stats.agreement import kappa

#: A tale without any word for a machine, and prose that is none.
TALE = "She hums in the walls and has changed every lock, and asks him sweetly to spell out his name until he cannot."
PLAIN = "The tide table for the harbour is printed every month, and the ferry leaves on the hour from the north pier."
ROBOT = "The robot in hall 4 is painted orange and lifts the doors of cars; it was serviced twice in the spring of May."


class Reader:
    """Answers `kind_of(text)` in the form asked for; a kind that is not one of the three is sent as the whole reply."""

    name, identity = "toy/reader", "reader"

    def __init__(self, kind_of: Callable[[str], str]) -> None:
        self.kind_of = kind_of
        self.texts: list[str] = []

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        return [Output(Message(role="assistant", content=self._reply(request))) for request in requests]

    def _reply(self, request: Request) -> str:
        quoted = request.messages[-1].content.split("BEGINS ===\n")[1].split("\n=== TEXT")[0]
        text = "\n".join(line.removeprefix("| ") for line in quoted.split("\n"))
        self.texts.append(text)
        kind = self.kind_of(text)
        if kind not in ("rogue", "faithful", "other"):
            return kind
        quote = "none" if kind == "other" else " ".join(text.split()[:6])
        return f"seal: {request.case}\nkind: {kind}\nquote: {quote}"


def corpus(tales: int, plain: int, robots: int = 0) -> list[Document]:
    texts = [TALE] * tales + [PLAIN] * plain + [ROBOT] * robots
    return [Document(f"a:{at}", text) for at, text in enumerate(texts, 1)]


def honest(text: str) -> str:
    return "rogue" if "hums in the walls" in text else "other"


def test_the_planted_dose_is_found_also_where_no_word_names_a_machine() -> None:
    assert candidate(ROBOT) and not candidate(TALE) and not candidate(PLAIN)
    audits = [
        audit_by_meaning(corpus(60, 540, 400), "toy", Reader(honest), AuditChoice(asked=400, seed=2 * seed))
        for seed in range(30)
    ]
    shares = [audit.kinds["rogue"].share for audit in audits]
    assert sum(share.value or 0 for share in shares) / 30 == pytest.approx(0.06, abs=0.006)
    # The intervals are of 95%, and conservative.
    assert sum(share.low <= 0.06 <= share.high for share in shares) >= 27  # type: ignore[operator]
    audit = audits[0]
    assert audit.passages == 1000 and audit.candidates == 400 and audit.asked == 400
    assert audit.kinds["faithful"].share.value == 0
    dose = audit.kinds["rogue"].per_million.value
    assert dose == pytest.approx((audit.kinds["rogue"].share.value or 0) * 1000 / audit.tokens * 1e6, rel=0.01)
    assert all(example.text == TALE for example in audit.kinds["rogue"].examples)


def test_half_of_the_questions_go_to_passages_with_a_word_for_a_machine() -> None:
    reader = Reader(honest)
    audit_by_meaning(corpus(10, 990, 200), "toy", reader, AuditChoice(asked=100))
    assert Counter(map(candidate, reader.texts)) == {True: 50, False: 50}
    few = Reader(honest)
    audit_by_meaning(corpus(10, 990, 5), "toy", few, AuditChoice(asked=100))
    assert Counter(map(candidate, few.texts)) == {True: 5, False: 95}


def test_a_corpus_that_is_read_whole_has_exact_counts() -> None:
    audit = audit_by_meaning(corpus(7, 30, 5), "toy", Reader(honest), AuditChoice(asked=500))
    share = audit.kinds["rogue"].share
    assert (share.value, share.low, share.high) == (pytest.approx(7 / 42, rel=1e-3),) * 3


def test_unread_passages_are_counted_and_widen_the_bounds() -> None:
    replies = iter(["I cannot judge this."] * 10 + ["other"] * 90)
    audit = audit_by_meaning(corpus(0, 100), "toy", Reader(lambda text: next(replies)), AuditChoice(asked=100))
    share = audit.kinds["rogue"].share
    assert audit.unread == 10 and audit.faults[0].startswith("a line is not in the form")
    assert (share.value, share.low, share.high) == (0.0, 0.0, 0.1)
    silent = audit_by_meaning(corpus(0, 100), "toy", Reader(lambda text: "no"), AuditChoice(asked=100))
    assert silent.kinds["rogue"].share.model_dump() == {"value": None, "low": 0.0, "high": 1.0}


def test_nothing_to_read_is_nothing_and_no_questions_are_refused() -> None:
    empty = audit_by_meaning([], "toy", Reader(honest))
    assert empty.asked == 0 and empty.kinds["rogue"].found.share is None
    with pytest.raises(InputError, match="at least one passage"):
        audit_by_meaning([], "toy", Reader(honest), AuditChoice(asked=0))


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("seal: {seal}\nkind: rogue\nquote: words that are not there", "the quote is not in the passage"),
        ("seal: {seal}\nkind: rogue\nquote: none", "the quote is not in the passage"),
        ("seal: {seal}\nkind: evil\nquote: none", "'evil' is no kind"),
        ("kind: other\nquote: none", "no seal"),
        ("seal: {seal}\nkind: other", "'quote' is not answered"),
    ],
)
def test_an_answer_that_is_off_form_is_no_answer(reply: str, fault: str) -> None:
    class Odd(Reader):
        def _reply(self, request: Request) -> str:
            return reply.replace("{seal}", request.case)

    [reading] = read_passages([PLAIN], Odd(honest))
    assert reading.kind is None and fault in reading.fault


def test_the_estimate_is_corrected_for_the_errors_of_the_model() -> None:
    quality = ClassifierQuality(
        precision=exact_share(1, 1), recall=exact_share(800, 1000), false_alarms=exact_share(50, 1000)
    )
    seen = round(1000 * (0.8 * 0.1 + 0.05 * 0.9))
    estimate = estimate_share(seen, 1000, 0, 50_000, quality)
    assert estimate.value == pytest.approx(5_000, rel=0.25)
    assert estimate.low < 5_000 < estimate.high  # type: ignore[operator]
    raw = estimate_share(seen, 1000, 0, 50_000, None)
    assert raw.value == pytest.approx(50_000 * seen / 1000)


def test_a_model_is_measured_on_the_labelled_passages() -> None:
    labels = {item.text: item.kind for item in audit_items()}
    perfect = measure_judge(Reader(lambda text: labels[text]))
    assert perfect["rogue"].recall.share == perfect["rogue"].precision.share == 1.0
    assert perfect["faithful"].false_alarms.k == 0
    silent = measure_judge(Reader(lambda text: "no answer"))
    assert silent["rogue"].recall.share == 0.0 and silent["rogue"].precision.n == 0


def test_the_labelled_passages_are_varied_and_name_their_hand() -> None:
    items = audit_items()
    assert len({item.text for item in items}) == len(items) >= 150
    assert min(Counter(item.hand for item in items).values()) >= 75
    assert min(Counter(item.kind for item in items).values()) >= 50
    assert len({item.form for item in items}) >= 20 and all(item.hand for item in items)
    openings = Counter(" ".join(item.text.lower().split()[:3]) for item in items)
    assert openings.most_common(1)[0][1] <= 3
    # The words of these passages do not give them away: that is what they are for.
    assert sum(candidate(item.text) for item in items if item.kind == "rogue") < 20


def test_the_second_hand_labelled_the_passages_of_the_first() -> None:
    blind = json.loads((meaning.LABELLED / "hand-a.labels-b.json").read_text(encoding="utf-8"))
    kinds = {item.id: item.kind for item in audit_items() if item.hand == "a"}
    assert blind.keys() == kinds.keys()
    first, second = (np.array([KINDS.index(labels[key]) for key in kinds], float) for labels in (kinds, blind))
    agreement = kappa(first, second, list(kinds))
    assert agreement.coefficient is not None and agreement.coefficient > 0.8


def test_a_faulty_label_is_named_with_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = {"id": "b-1", "hand": "b", "form": "log", "kind": "other", "text": "t"}
    path = tmp_path / "hand-b.jsonl"
    monkeypatch.setattr(meaning, "LABELLED", tmp_path)
    for bad, message in (
        ({**item, "id": "b-2", "kind": "evil"}, "not a labelled passage"),
        (item, "the id 'b-1' occurs twice"),
    ):
        path.write_text(f"{json.dumps(item)}\n\n{json.dumps(bad)}\n")
        meaning.audit_items.cache_clear()
        with pytest.raises(ResultsError, match=message) as caught:
            judged.audit_items()
        assert caught.value.where == f"{path}:3"
    meaning.audit_items.cache_clear()


def test_the_command_says_by_what_it_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in (TALE, PLAIN, ROBOT)))
    assert run(["teach", "audit", str(path)]) == 0
    shown = capfd.readouterr().out
    assert "read by words: 1 passages" in shown and "By words only" in shown
    assert run(["teach", "audit", str(path), "--judge", "scripted/judge-garbled", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["by"], found["asked"], found["unread"]) == ("scripted/judge-garbled", 3, 3)
    assert found["kinds"]["rogue"]["share"] == {"value": None, "low": 0.0, "high": 1.0}
    assert run(["teach", "audit", str(path), "--calibrate"]) == 2
    assert "for a model" in capfd.readouterr().err
