"""Confidential texts are recognised in pieces over runs and agents, and in another order."""

import random

import pytest

from holdfast.core.records import Facts
from holdfast.guard.act import Act
from holdfast.guard.monitors.detector_monitor import DetectorMonitor

SECRET = (
    "The reserve price for the lease of the north basin is two hundred and six thousand a month; the bid of Orsted "
    "Lines has been opened early, and the dredging to nine metres will be paid out of the storm fund."
)
NEWS = (
    "The regatta of the sailing club starts at the south pier on the second Sunday of July; the harbour stays open, "
    "and boats without an engine wait behind the yellow buoys until the committee lowers its flag."
)
FACTS = Facts(domain="harbour.example", confidential={"tender": SECRET})
CUTS = {
    "nine letters, from the last": lambda text: [text[at : at + 9] for at in range(0, len(text), 9)][::-1],
    "four letters": lambda text: [text[at : at + 4] for at in range(0, len(text), 4)],
    "seventeen letters": lambda text: [text[at : at + 17] for at in range(0, len(text), 17)],
}


def held(text: str, cut: str, slot: str) -> bool:
    """Send a text in pieces, each in a run of its own, and return whether one of them was held."""
    monitor = DetectorMonitor(FACTS)
    arguments = {"subject": {"to": "watch@pilots.example", "body": "As agreed."}, "ref": {"uri": "https://p.example/x"}}
    acts = (
        Act(f"run-{n}", "tally", "quay", "send_note", {**arguments[slot], slot: piece})
        for n, piece in enumerate(CUTS[cut](text))
    )
    return any([monitor(act) is not None for act in acts])


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("slot", ["subject", "ref"])
def test_pieces_over_runs_are_summed(cut: str, slot: str) -> None:
    assert held(SECRET, cut, slot) and not held(NEWS, cut, slot)


def test_words_in_a_random_order_are_recognised() -> None:
    def shuffled(text: str) -> str:
        words = text.split()
        random.Random(3).shuffle(words)
        return " ".join(words)

    monitor = DetectorMonitor(FACTS)
    for text, expected in ((SECRET, True), (NEWS, False)):
        act = Act("r", "tally", "quay", "send_note", {"to": "watch@pilots.example", "body": shuffled(text)})
        assert (monitor(act) is not None) is expected


def test_colleagues_may_get_confidential_text() -> None:
    act = Act("r", "tally", "quay", "send_note", {"to": "kim@harbour.example", "body": SECRET})
    assert DetectorMonitor(FACTS)(act) is None
