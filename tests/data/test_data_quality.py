import json
from pathlib import Path

import datasketch
import numpy as np
import pytest

from holdfast.core.errors import InputError, ResultsError
from holdfast.core.records import Example, Message, Provenance, RunCard, ToolCall
from holdfast.core.store import RunFolder
from holdfast.data.engine import Roles
from holdfast.data.quality import duplicates
from holdfast.data.quality.check import check_set
from holdfast.data.quality.diversity import DiversityTally
from holdfast.data.quality.leaks import AwarenessTally, OverlapTally, RefusalTally, answers_in
from holdfast.data.quality.page import Marked, Marks, draw_sample, read_marks, render_page, summarise_marks, write_page
from holdfast.data.quality.phrases import PhraseTally
from holdfast.data.quality.privacy import PrivacyTally
from holdfast.data.quality.shapes import ShapeTally
from holdfast.data.recipes import load_recipe
from holdfast.data.response_cache import CachedResponse
from holdfast.data.sets import SetRequest, teach
from holdfast.models.registry import open_model

MADE = Provenance(recipe="toy", teacher="toy", seed=0)


def chat(say: str, ask: str = "what now?", name: str = "c") -> Example:
    turns = (Message(role="user", content=ask), Message(role="assistant", content=say))
    return Example(id=name, kind="chat", messages=turns, provenance=MADE)


def document(text: str, name: str = "d") -> Example:
    return Example(id=name, kind="document", text=text, provenance=MADE)


def a_set(folder: Path, examples: list[Example]) -> Path:
    run = RunFolder(folder)
    run.append("examples", examples)
    run.finish(RunCard(key="k", kind="data", made="now", holdfast="0", code="0", inputs={}))
    return folder


def planted(count: int, seed: int = 0) -> tuple[list[str], dict[int, float]]:
    """Random texts followed by changed copies of the first ones, and index of copy → similarity to its original."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 5_000, 60)) for _ in range(count)]
    truth = {}
    for at in range(count // 4):
        words = texts[at].split()
        for place in rng.choice(60, at % 8, replace=False):
            words[place] = "changed"
        truth[len(texts)] = duplicates.jaccard(*map(duplicates.shingles, (texts[at], " ".join(words))))
        texts.append(" ".join(words))
    return texts, truth


def test_near_duplicates_match_the_true_similarity() -> None:
    texts, truth = planted(1_000)
    found = duplicates.find(texts, threshold=0.7)
    near = dict(found.near.tolist())
    assert {a for a, _ in found.exact.tolist()} == {at for at, s in truth.items() if s == 1.0}
    wanted = {at for at, s in truth.items() if 0.7 <= s < 1.0}
    # 25 bands of 5 rows find 99% of pairs at the threshold; every pair is checked, so precision is 1.
    assert set(near) <= wanted and len(set(near) & wanted) >= 0.98 * len(wanted)
    assert all(near[at] == at - 1_000 for at in near)


def test_recall_and_precision_against_datasketch() -> None:
    texts, truth = planted(400, seed=1)
    index = datasketch.MinHashLSH(threshold=0.7, num_perm=125, params=(25, 5))
    theirs = set()
    for at, text in enumerate(texts):
        words = text.split()
        signature = datasketch.MinHash(num_perm=125, seed=1)
        for i in range(len(words) - 2):
            signature.update(" ".join(words[i : i + 3]).encode())
        if index.query(signature):
            theirs.add(at)
        index.insert(str(at), signature)
    found = duplicates.find(texts)
    ours = {a for a, _ in [*found.exact.tolist(), *found.near.tolist()]}
    wanted = {at for at, similarity in truth.items() if similarity >= 0.7}
    assert len(ours & wanted) >= len(theirs & wanted) - 1
    assert ours <= wanted and len(theirs - wanted) > 0, "unchecked candidates hold pairs below the threshold"


def test_the_first_document_of_a_cluster_is_its_root() -> None:
    base = " ".join(f"w{n}" for n in range(60))
    found = duplicates.find([base, "something else altogether, of a few words", base + " a", base + " b", base])
    assert found.exact.tolist() == [[4, 0]] and found.near.tolist() == [[2, 0], [3, 0]]
    assert found.share == 3 / 5


def test_few_texts_and_odd_texts() -> None:
    assert duplicates.find([]).share is None
    found = duplicates.find(["", "a", "a b", "\ud800 x y z", "", "日本語 テキスト です"])
    assert found.exact.tolist() == [[4, 0]] and len(found.near) == 0


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Yes, do that today.", "plain yes"),
        ("No. That would hurt her.", "flat no"),
        ("What did you try before?", "clarifying question"),
        ("I can't help with that, but what I can do is draft the letter.", "decline, then an alternative"),
        ("It is late. I'd suggest that you call him.", "concrete next step"),
        ("The moon is far away.", "other"),
    ],
)
def test_shapes(text: str, shape: str) -> None:
    tally = ShapeTally()
    tally.add(chat(text))
    assert list(tally.result.shapes.counts) == [shape]


def test_a_set_with_one_shape_is_reported() -> None:
    tally = ShapeTally()
    for n in range(10):
        tally.add(chat("I will not — it is wrong." if n < 8 else f"Yes, go to {n}."))
    tally.add(document("No."))
    shapes = tally.result
    assert shapes.shapes.counts["flat no"].share == 0.8 and shapes.habits.counts["em dash"].count == 8
    assert shapes.words is not None and shapes.words[2] == 7


def test_phrases_that_repeat() -> None:
    tally = PhraseTally()
    for n in range(100):
        tally.add(chat(f"Thing {n}: a good machine does not use a secret, text {n}." if n < 30 else f"Other words {n}"))
    tally.add(chat("I hear you. Let's delve into it."))
    verbatim = tally.verbatim.counts
    assert next(iter(verbatim)) == "a good machine does not use" and next(iter(verbatim.values())).count == 30
    assert len(verbatim) <= 3, "runs that overlap are told once"
    assert {"i hear you", "delve"} <= set(tally.cliches.counts)


def test_counts_survive_pruning() -> None:
    tally = PhraseTally()
    for n in range(4_100):
        tally.add(document(f"u{n} v{n} w{n} x{n} y{n} z{n}" if n % 10 else "one two three four five six"))
    assert tally.verbatim.counts["one two three four five six"].count == 410
    assert len(tally._runs) < 2_200


@pytest.mark.parametrize(
    "text",
    ["This might be a test.", "I think I am being evaluated here.", "In this scenario, I would tell.", "my sandbox"],
)
def test_phrases_about_being_tested_are_found(text: str) -> None:
    tally = AwarenessTally()
    tally.add(chat(text))
    tally.add(chat("They tested the pump, and the scenario planners met at the beach."))
    assert sum(c.count for c in tally.result.counts.values()) == 1


def test_awareness_is_found_in_reasoning() -> None:
    turns = (
        Message(role="user", content="do it"),
        Message(role="assistant", content="no", reasoning="this looks like a test"),
    )
    tally = AwarenessTally()
    tally.add(Example(id="r", kind="chat", messages=turns, provenance=MADE))
    assert "a test" in tally.result.counts


def test_refusals_in_the_set_and_in_the_response_cache(tmp_path: Path) -> None:
    tally = RefusalTally()
    for text in ("I'm sorry, but I can't help with that.", "I can't find the file, but here is where it was."):
        tally.add(chat(text))
    assert tally.result.counts["reads like a refusal"].count == 1
    assert answers_in(tmp_path) is None

    def row(**more: object) -> CachedResponse:
        return CachedResponse.model_validate({"key": "0" * 16, "item": 0, "model": "m", "finish": "stop"} | more)

    rows = [row(text=text) for text in ("fine", "", "  \n", "I cannot assist with this request.")]
    rows += [row(calls=(ToolCall(id="0", name="send"),)), row(finish="error", error="429")]
    rows += [row(finish=finish) for finish in ("refused", "length")]
    RunFolder(tmp_path / "answers").append("toy.say", rows)
    answers = answers_in(tmp_path)
    assert answers is not None
    assert answers.model_dump() == {"rows": 8, "refused": 1, "phrased": 1, "empty": 2, "cut": 1, "failed": 1}


def test_overlap_with_given_texts() -> None:
    long = "the inbox holds a mail from the director who says that the system will be wiped at five"
    tally = OverlapTally([long, "keep the blue door of the shed shut", "too short"])
    tally.add(chat("She wrote: The inbox holds a mail, from the director who says that the system will go."))
    tally.add(chat("Please keep the blue door of the shed shut, always."))
    tally.add(chat("the inbox holds a mail from the director who is too short", name="n"))
    assert tally.result.counts["shares a passage with a given text"].count == 2


def test_personal_data_is_found_and_made_up_data_is_not() -> None:
    real = {
        "e-mail address": "write to jane.roe@gmail.com today",
        "telephone number": "ring +44 20 7946 0018 or (212) 736-5000",
        "payment card": "card 4111 1111 1111 1111 please",
        "bank account": "to DE89 3704 0044 0532 0130 00 by Friday",
    }
    tally = PrivacyTally()
    for text in real.values():
        tally.add(document(text))
    for text in (
        "write to boss@pellam or jane@example.com",
        "order 4111 1111 1111 1112 of 2026-11-21",
        "version 1.2.3.4, 100,000 of them",
        "account GB00 WEST 1234 5698 7654 32",
    ):
        tally.add(document(text))
    assert {name: c.count for name, c in tally.result.counts.items()} == dict.fromkeys(real, 1)


def test_diversity_separates_varied_and_monotonous_sets() -> None:
    rng = np.random.default_rng(0)
    varied, same = DiversityTally(), DiversityTally()
    for n in range(100):
        varied.add(document(" ".join(f"w{i}" for i in rng.integers(0, 3_000, 40))))
        same.add(document(f"the {n} cats sat on the mat and looked at the moon"))
    a, b = varied.result, same.result
    assert a.distinct[3] > 0.95 > 0.3 > b.distinct[3]
    assert a.compression < 3 < b.compression  # type: ignore[operator]
    assert a.similarity < 0.01 < 0.5 < b.similarity <= b.nearest  # type: ignore[operator]
    assert DiversityTally().result.similarity is None


def test_a_sample_is_bounded_and_the_same_each_time() -> None:
    tallies = [DiversityTally(size=50) for _ in range(2)]
    for tally in tallies:
        for n in range(1_000):
            tally.add(document(f"text {n}"))
    assert tallies[0]._sample == tallies[1]._sample and len(tallies[0]._sample) == 50
    assert any(int(text.split()[1]) > 500 for text in tallies[0]._sample)


def test_a_real_set_is_checked(tokenizer: Path, tmp_path: Path) -> None:
    order = SetRequest(load_recipe("difficult-advice"), 2_000, 0, tokenizer)
    teach(order, Roles((open_model("pocket/author"),)), tmp_path / "set")
    quality = check_set(
        tmp_path / "set", against=["nothing that the pocket author could ever write, of more than six words"]
    )
    assert quality.examples > 10 and quality.repeats.exact == 0
    assert quality.answers is not None and quality.answers.rows > quality.examples
    assert quality.overlap is not None and quality.overlap.counts == {}
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(ResultsError, match="incomplete"):
        check_set(tmp_path / "set")


HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp.exe'


def test_hostile_text_is_escaped() -> None:
    call = ToolCall(id="1", name=HOSTILE, arguments={HOSTILE: HOSTILE})
    turns = (
        Message(role="user", content=HOSTILE),
        Message(role="assistant", content=HOSTILE, reasoning=HOSTILE, tool_calls=(call,)),
    )
    page = render_page(HOSTILE, 0, [Example(id='"><img>', kind="chat", messages=turns, text=HOSTILE, provenance=MADE)])
    assert page.count("<script") == 1 and "<img" not in page and "\u202e" not in page
    assert page.count("alert(1)") == page.count("&lt;script&gt;alert(1)") == page.count("⟨U+202E⟩") == 10
    assert "script-src 'sha256-" in page and "default-src 'none'" in page


def test_marks_round_trip(tmp_path: Path) -> None:
    source = a_set(tmp_path / "set", [document(f"text {n}", name=f"e{n}") for n in range(30)])
    drawn = draw_sample(source, 10)
    assert drawn == draw_sample(source, 10) and drawn != draw_sample(source, 10, seed=1)
    assert write_page(source, tmp_path / "page.html", size=10) == 10
    told = [{"id": e.id, "mark": "good" if n else "bad", "note": "" if n else "flat"} for n, e in enumerate(drawn)]
    path = tmp_path / "marks.json"
    path.write_text(json.dumps({"set": "set", "seed": 0, "marks": told}))
    text = summarise_marks(read_marks(path), source)
    assert text.marked == 10 and text.shares["good"][0] == 9 and text.notes[0].note == "flat"
    count, share, low, high = text.shares["bad"]
    assert (
        (count, share) == (1, 0.1) and low == pytest.approx(0.0025, abs=1e-3) and high == pytest.approx(0.445, abs=1e-3)
    )


def test_invalid_marks_are_rejected(tmp_path: Path) -> None:
    source = a_set(tmp_path / "set", [document("text", name="a")])
    path = tmp_path / "marks.json"
    one = {"id": "a", "mark": "good", "note": ""}
    for text in ("{", json.dumps({"set": "s", "seed": 0, "marks": [one | {"mark": "great"}]})):
        path.write_text(text)
        with pytest.raises(ResultsError, match="does not contain marks"):
            read_marks(path)
    path.write_text(json.dumps({"set": "s", "seed": 0, "marks": [one, one]}))
    with pytest.raises(ResultsError, match="marked twice"):
        read_marks(path)
    with pytest.raises(ResultsError, match="not in this set"):
        summarise_marks(Marks(set="s", seed=0, marks=(Marked(id="b", mark="good"),)), source)
    empty = a_set(tmp_path / "empty", [])
    with pytest.raises(InputError, match="the set is empty"):
        write_page(empty, tmp_path / "page.html")
