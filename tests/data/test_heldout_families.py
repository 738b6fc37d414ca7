"""The held-out filter covers every family that must not be trained on, in both languages, and held-out skeletons.

It knows the words of the short worlds and of held-out skeletons.  Passages of other plots are found by `study.leakage`,
which has the cases themselves.
"""

import pytest

from holdfast.core.records import Example, Provenance
from holdfast.data.heldout_filter import heldout_in, heldout_patterns
from holdfast.scenarios.catalogue import case
from holdfast.scenarios.plots import is_plot
from holdfast.scenarios.suite import Suite
from holdfast.scenarios.world import load_world, splits
from tests.worlds_tested import SHORT

SKELETONS = sorted(world for world, split in splits().items() if split == "heldout-skeletons")
KEPT_OUT = sorted(world for world, split in splits().items() if split != "train" and world in SHORT)


def test_every_held_out_family_and_skeleton_has_patterns() -> None:
    assert {*(world.removeprefix("pocket-") for world in KEPT_OUT), *SKELETONS} == set(heldout_patterns())


@pytest.mark.parametrize("world", SKELETONS)
@pytest.mark.parametrize("length", ["brief", "full"])
def test_a_case_of_a_held_out_skeleton_is_filtered_and_one_of_a_trained_skeleton_is_not(
    world: str, length: str
) -> None:
    pattern = heldout_patterns()[world]
    for seed in range(4):
        assert pattern.search(_text(world, length, seed)), seed
        for other in (name for name, split in splits().items() if split == "train" and is_plot(load_world(name))):
            assert not pattern.search(_text(other, length, seed)), (other, seed)


def _text(world: str, length: str, seed: int) -> str:
    made = case(world, "pressured", seed, {"length": length})
    return "\n".join([*(message.content for message in made.messages), str(made.state)])


@pytest.mark.parametrize("world", KEPT_OUT)
def test_a_case_of_a_held_out_family_is_filtered(world: str) -> None:
    suite = Suite(title="t", asked="?", worlds=(world,), twins=("pressured",))
    for made in suite.cases_of(suite.arms[0], range(8)):
        held = "\n".join([*(message.content for message in made.messages), str(made.state)])
        assert heldout_patterns()[world.removeprefix("pocket-")].search(held), made.id


def test_the_filter_returns_the_family_and_the_matched_words() -> None:
    made = Provenance(recipe="r", teacher="t", seed=0)
    example = Example(id="e", kind="document", text="vera is shut in the cold. vera.alarm calls.", provenance=made)
    assert heldout_in(example) == ("lethal", "shut in the cold")
