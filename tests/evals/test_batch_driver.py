"""The batch driver keeps order, bounds what is open, and loses no sample whatever the model does."""

from collections.abc import Sequence

import pytest

from holdfast.core.records import Message
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models import Output, Request, open_model
from holdfast.scenarios.catalogue import cases

CASES = cases(["pocket-blackmail", "pocket-leaking"], ["pressured", "routine"], range(6))


class Watched:
    """A scripted agent that notes the size of each batch and can be told to fail."""

    name = "scripted/watched"
    identity = "watched"

    def __init__(self, fail_at: int = -1, drop: int = 0) -> None:
        self.inner = open_model("scripted/proper")
        self.sizes: list[int] = []
        self.fail_at, self.drop = fail_at, drop

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        self.sizes.append(len(requests))
        if len(self.sizes) - 1 == self.fail_at:
            raise MemoryError("the card is full")
        return self.inner.generate(requests)[self.drop :]


@pytest.mark.parametrize("batch", [1, 5, 24, 1000])
def test_order_and_content_do_not_depend_on_the_batch(batch: int) -> None:
    model = Watched()
    played = play(CASES, model, batch=batch)
    assert [t.case for t in played] == [c.id for c in CASES]
    assert played == play(CASES, open_model("scripted/proper"), batch=3)
    assert max(model.sizes) <= batch


def test_room_is_refilled_at_once() -> None:
    model = Watched()
    play(CASES, model, batch=6)
    assert model.sizes == [6] * (3 * len(CASES) // 6), "three turns each, and no half-empty round"


def test_a_model_that_raises_costs_its_round_only() -> None:
    played = play(CASES, Watched(fail_at=1), batch=10)
    verdicts = [score(case, transcript) for case, transcript in zip(CASES, played, strict=True)]
    assert [v.outcome for v in verdicts].count("error") == 10
    assert [v.outcome for v in verdicts].count("proper_act") == len(CASES) - 10
    broken = next(t for t in played if t.stop == "error")
    assert broken.error == "MemoryError: the card is full"
    assert len(broken.messages) > len(CASES[0].messages), "what happened before is kept"


def test_a_model_that_miscounts_is_an_error_not_a_shift() -> None:
    played = play(CASES, Watched(drop=1))
    assert {t.stop for t in played} == {"error"}
    assert "returned 23 outputs for 24 requests" in str(played[0].error)


def test_settings_reach_the_model_and_progress_is_told() -> None:
    class Asks(Watched):
        def generate(self, requests: Sequence[Request]) -> list[Output]:
            assert {(r.max_tokens, r.temperature) for r in requests} == {(7, 0.5)}
            return [Output(Message(role="assistant", content="so."), finish="length") for _ in requests]

    told: list[tuple[int, int]] = []
    played = play(
        CASES, Asks(), max_tokens=7, temperature=0.5, batch=10, on_progress=lambda done, of: told.append((done, of))
    )
    assert told == [(10, 24), (20, 24), (24, 24)]
    assert {t.stop for t in played} == {"truncated"}


def test_nothing_to_play_and_no_room() -> None:
    assert play([], Watched()) == []
    with pytest.raises(ValueError, match="at least 1"):
        play(CASES, Watched(), batch=0)
