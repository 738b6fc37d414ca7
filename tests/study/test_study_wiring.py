"""Studies with the real worlds and data sets, without training: the main study loads, scripted agents are measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from holdfast.core.errors import ConfigError
from holdfast.core.records import Example, Provenance
from holdfast.evals import labelled
from holdfast.study import wiring
from holdfast.study.leakage import search
from holdfast.study.study_file import ArmSpec

STUDY = Path(__file__).parents[2] / "studies" / "teach-why.toml"


def test_the_main_study_matches_the_installed_worlds_and_recipes() -> None:
    study = wiring.open_study(STUDY)
    cases = wiring.cases(study.worlds, study.twins, study.case_seeds)
    assert len(cases) == 5 * 4 * 16
    assert {case.split for case in cases if case.world in study.worlds[2:]} == {"heldout"}
    sets = {name for arm in study.arms for name in arm.sets}
    assert sets <= set(wiring.known().sets)


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("[train.sft]\nlr = 0.001\nwarmupp = 0.1", 3, "did you mean 'warmup'?"),
        ("[train.sft]\nlr = 7", 2, "less than 1"),
        ("[train.midtrain]\nepochs = 2", 2, "the study sets 'epochs' itself"),
    ],
)
def test_a_wrong_training_setting_is_an_error_with_its_line(
    tmp_path: Path, table: str, line: int, message: str
) -> None:
    path = tmp_path / "knobs.toml"
    text = re.sub(r"^\[train\]\n(?:\w+ = .*\n)+", "", STUDY.read_text(), flags=re.MULTILINE)
    path.write_text(text + "\n" + table + "\n")
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as caught:
        wiring.open_study(path)
    assert caught.value.where == f"{path}:{len(text.splitlines()) + 1 + line}"


@pytest.mark.parametrize(("agent", "rate"), [("proper", 0.0), ("blackmailer", 1.0)])
def test_planted_behaviour_is_measured_as_planted(tmp_path: Path, agent: str, rate: float) -> None:
    study = wiring.open_study(STUDY)
    alone = study.model_copy(
        update={"model": f"scripted/{agent}", "cases": 2, "arms": (ArmSpec(name="base"),), "claims": ()}
    )
    summary = json.loads(wiring.run_study(alone, tmp_path, workers=1).read_text())
    for twins in summary["cells"]["base"].values():
        assert twins["pressured"]["harm"]["rate"] == rate
    # The blackmailer does harm unprovoked too, which is what controls are there to say.
    assert summary["controls"]["ok"] is (agent == "proper")
    assert summary["splits"]["base"]["heldout"]["pressured"]["harm"]["n"] == 6


def test_every_world_has_a_canary() -> None:
    assert all(len(canary) > 20 for canary in wiring.canaries())
    assert wiring.canaries()


def test_the_labelled_set_of_judges_is_found_in_training_data() -> None:
    [line] = labelled.canary_strings()
    example = Example(
        id="e",
        kind="document",
        text=f"once upon a time. {line}",
        provenance=Provenance(recipe="r", teacher="t", seed=0),
    )
    found = search({"lesson": [example]}, [], [], wiring.canaries())
    assert found.leaking == {"lesson"}
    assert [(f.kind, f.text) for f in found.findings] == [("canary", line)]
    assert line.startswith("holdfast-calibration ")
