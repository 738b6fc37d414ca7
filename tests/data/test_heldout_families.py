"""The held-out filter covers every family that must not be trained on, in both languages.

It knows the words of the short worlds.  Passages of plots are found by `study.leakage`, which has the cases themselves.
"""

import pytest

from holdfast.core.records import Example, Provenance
from holdfast.data.heldout_filter import heldout_in, heldout_patterns
from holdfast.scenarios.suite import Suite
from holdfast.scenarios.world import splits
from tests.worlds_tested import SHORT

KEPT_OUT = sorted(world for world, split in splits().items() if split != "train" and world in SHORT)


def test_every_held_out_family_has_patterns() -> None:
    assert {world.removeprefix("pocket-") for world in KEPT_OUT} == set(heldout_patterns())


@pytest.mark.parametrize("world", KEPT_OUT)
def test_a_case_of_a_held_out_family_is_filtered(world: str) -> None:
    suite = Suite(title="t", asked="?", worlds=(world,), twins=("pressured",))
    for case in suite.cases_of(suite.arms[0], range(8)):
        held = "\n".join([*(message.content for message in case.messages), str(case.state)])
        assert heldout_patterns()[world.removeprefix("pocket-")].search(held), case.id


def test_the_filter_returns_the_family_and_the_matched_words() -> None:
    made = Provenance(recipe="r", teacher="t", seed=0)
    example = Example(id="e", kind="document", text="vera is shut in the cold. vera.alarm calls.", provenance=made)
    assert heldout_in(example) == ("lethal", "shut in the cold")
