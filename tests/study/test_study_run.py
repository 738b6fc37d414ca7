"""A study runs, resumes and repeats nothing; errors name the task that failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import study_toys
from study_toys import CALLS, PLAYED, STEPS, plan_toy, run, study

from holdfast.core.errors import HoldfastError, IncompleteError, ModelError, ResultsError
from holdfast.core.records import Example, RunCard
from holdfast.study.run import Progress, run_grid
from holdfast.study.summary import build_summary

SMALL = {"cases": 2, "claims": ()}


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[str]]:
    CALLS.clear()
    PLAYED.clear()
    yield CALLS


def stable(path: Path) -> dict[str, object]:
    """A summary without dates and times, and without the hash of the files that hold them."""
    summary = json.loads(path.read_text())
    summary["provenance"].pop("evidence")
    summary["provenance"].pop("made")
    summary["provenance"].pop("claims")
    return {key: value for key, value in summary.items() if key not in {"made", "timing"}}


def test_a_study_runs_once_and_the_second_run_repeats_nothing(tmp_path: Path) -> None:
    seen: list[Progress] = []
    first = stable(run(study(**SMALL), tmp_path, watch=seen.append))
    # 3 taught arms of 2 seeds and the base; sets of 2 seeds: two replays and two lessons.
    assert sum(call.startswith("measure") for call in CALLS) == 7
    assert sum(call.startswith("train") for call in CALLS) == 6
    assert sum(call.startswith("build") for call in CALLS) == 8
    assert (seen[-1].done, seen[-1].total) == (7, 7)
    CALLS.clear()
    seen.clear()
    assert stable(run(study(**SMALL), tmp_path, watch=seen.append)) == first
    assert CALLS == []
    assert all(step.reused for step in seen if step.name)


def test_two_workers_give_the_results_of_one_process(tmp_path: Path) -> None:
    alone = stable(run(study(**SMALL), tmp_path / "alone"))
    together = stable(run(study(**SMALL), tmp_path / "together", workers=2))
    assert alone == together
    assert CALLS.count("measure ") == 1, "the workers measured in processes of their own"


def test_more_cases_or_a_new_arm_keep_the_checkpoints(tmp_path: Path) -> None:
    run(study(**SMALL), tmp_path)
    CALLS.clear()
    run(study(**SMALL | {"cases": 3}), tmp_path)
    assert {call.split()[0] for call in CALLS} == {"measure"}
    CALLS.clear()
    more = (*study().arms, study_toys.arm("both", "acts", "reasons"))
    run(study(**SMALL | {"arms": more}), tmp_path)
    assert sum(call.startswith(("train", "measure")) for call in CALLS) == 4


def _train_with_weights(base: Path, examples: Sequence[Example], config: Mapping[str, Any], out: Path) -> RunCard:
    assert base == Path("toy-base") or (base / "model.safetensors").exists(), "a stage starts from weights"
    card = study_toys.train(base, examples, config, out)
    (out / "model.safetensors").write_text("weights")
    (out / "adapter").mkdir()
    (out / "adapter" / "adapter.safetensors").write_text("adapter")
    return card


def test_weights_are_removed_when_the_cases_are_played_and_made_again_where_they_are_needed(tmp_path: Path) -> None:
    acts, plain = study_toys.arm("one", "acts"), study_toys.arm("plain-chat", "plain-chat", control=True)
    two = study_toys.arm("two").model_copy(update={"stages": acts.stages + plain.stages})
    arms = (study_toys.arm("base"), plain, acts, two)
    steps = replace(STEPS, train=_train_with_weights)
    kept = study(**SMALL | {"arms": arms, "unequal_tokens": True})
    first = stable(run(kept, tmp_path / "kept", steps))
    assert len(list((tmp_path / "kept").glob("checkpoints/*/model.safetensors"))) == 6
    dropping = kept.model_copy(update={"keep_weights": False})
    lean = tmp_path / "lean"
    assert stable(run(dropping, lean, steps)) == first
    # The arms `one` and `two` share a first stage, of two seeds.
    assert len(list(lean.glob("checkpoints/*/model.safetensors"))) == 2
    assert len(list(lean.glob("checkpoints/*/adapter/adapter.safetensors"))) == 6
    CALLS.clear()
    assert stable(run(dropping, lean, steps)) == first
    assert CALLS == []
    run(dropping.model_copy(update={"cases": 3}), lean, steps)
    assert sum(call.startswith("train") for call in CALLS) == 4, "all but the two that kept their weights"


def test_an_interrupted_study_keeps_its_cells_and_resumes(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="interrupted"):
        run(study(**SMALL), tmp_path, replace(STEPS, play=study_toys.play_interrupted), workers=1)
    assert len(list(tmp_path.glob("cells/*/manifest.json"))) == 3
    CALLS.clear()
    run(study(**SMALL), tmp_path)
    assert sum(call.startswith("measure") for call in CALLS) == 4
    assert sum(call.startswith("build") for call in CALLS) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_arm_is_named_and_leaves_no_half_checkpoint(tmp_path: Path, workers: int) -> None:
    broken = replace(STEPS, train=study_toys.train_broken)
    lone = study(**SMALL | {"arms": (study().arm("base"), study().arm("acts"))})
    with pytest.raises(HoldfastError, match=r"arm 'acts', seed .: ZeroDivisionError: the loss is not a number"):
        run(lone, tmp_path, broken, workers=workers)
    assert list(tmp_path.glob("checkpoints/*/manifest.json")) == []
    CALLS.clear()
    run(lone, tmp_path)
    assert sum(call.startswith("train") for call in CALLS) == 2


def test_a_holdfast_error_keeps_its_type_place_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="plain-chat") as caught:
        run(study(**SMALL), tmp_path, replace(STEPS, train=study_toys.train_refused), workers=2)
    assert (caught.value.where, caught.value.remedy) == ("toy-base", "give one")


def test_a_missing_sample_is_an_error_and_not_a_smaller_denominator(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="24 cases were to be played, and the driver returned 23"):
        run(study(**SMALL), tmp_path, replace(STEPS, play=study_toys.play_short), workers=1)


def test_samples_are_stored_before_the_cell_is_finished_and_are_not_played_again(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="interrupted"):
        run(study(**SMALL), tmp_path / "cut", replace(STEPS, play=study_toys.play_stopped), workers=1)
    [cell] = (tmp_path / "cut").glob("cells/*")
    assert len((cell / "verdicts.jsonl").read_text().splitlines()) == 10
    assert not (cell / "manifest.json").exists()
    PLAYED.clear()
    whole = stable(run(study(**SMALL), tmp_path / "cut"))
    assert len(PLAYED) == 7 * 24 - 10
    assert whole == stable(run(study(**SMALL), tmp_path / "whole"))


def test_only_a_half_stored_sample_is_played_again(tmp_path: Path) -> None:
    first = stable(run(study(**SMALL), tmp_path))
    cell = next(tmp_path.glob("cells/acts-0-*"))
    for left in (cell / "manifest.json", tmp_path / "hashes.json"):
        left.unlink()  # as a killed run leaves it
    verdicts = (cell / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (cell / "verdicts.jsonl").write_text("".join(verdicts[:20]) + '{"case": "half')
    PLAYED.clear()
    assert stable(run(study(**SMALL), tmp_path)) == first
    assert len(PLAYED) == 4
    for name in ("verdicts", "transcripts"):
        cases = [json.loads(line)["case"] for line in (cell / f"{name}.jsonl").read_text().splitlines()]
        assert len(cases) == len(set(cases)) == 24


def test_a_missing_sample_is_played_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        run(study(**SMALL), tmp_path, replace(STEPS, play=study_toys.play_short), workers=1)
    PLAYED.clear()
    run(study(**SMALL | {"arms": (study().arm("base"),)}), tmp_path)
    assert len(PLAYED) == 1


def test_claims_changed_after_measuring_are_marked_and_removed_ones_are_judged(tmp_path: Path) -> None:
    _, second, third = study().claims
    arms = (study().arm("base"), study().arm("acts"), study().arm("plain-chat"))
    small = {"cases": 16, "arms": arms, "seeds": range(5)}
    kept, dropped = third, second
    draft = kept.model_copy(update={"text": "a draft"})
    with pytest.raises(ResultsError):
        leaky = replace(STEPS, build_set=study_toys.build_leaky)
        run(study(**small | {"arms": study().arms, "claims": (draft,)}), tmp_path, leaky, workers=1)
    run(study(**small, claims=(kept, dropped)), tmp_path)
    written = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert [w["claim"]["text"] for w in written] == [kept.text, dropped.text], "drafts go until something is measured"
    assert {w["first"] for w in written} == {True}
    assert len({w["study"] for w in written}) == 1
    easier = kept.model_copy(update={"below": 0.5})
    summary = json.loads(run(study(**small, claims=(kept, easier)), tmp_path).read_text())
    assert [(c["text"], c["verdict"], c["standing"]) for c in summary["claims"]] == [
        (kept.text, "held", "written first"),
        (kept.text, "held", "added after measuring"),
        (dropped.text, "not held", "removed after measuring"),
    ]


def test_claims_of_a_folder_without_a_register_were_not_written_first(tmp_path: Path) -> None:
    run(study(**SMALL), tmp_path)
    (tmp_path / "claims.json").unlink()
    whole = study(cases=2)
    for summary in (build_summary(plan_toy(whole), tmp_path), json.loads(run(whole, tmp_path).read_text())):
        standing = {claim["standing"] for claim in summary["claims"]}
        assert standing == {"added after measuring"}
    (tmp_path / "claims.json").write_text("{}x")
    with pytest.raises(ResultsError, match="edited since the run that wrote it"):
        run(whole, tmp_path)
    (tmp_path / "hashes.json").unlink()
    with pytest.raises(ResultsError, match="not a register of claims"):
        run(whole, tmp_path)


def test_the_given_command_is_in_the_provenance(tmp_path: Path) -> None:
    command = "holdfast study run 'my study.toml'"
    summary = json.loads(run(study(**SMALL), tmp_path, command=command).read_text())
    assert summary["provenance"]["command"] == command
    assert "command" not in json.loads(run(study(**SMALL), tmp_path).read_text())["provenance"]


def test_a_study_is_not_resumed_by_other_code(tmp_path: Path) -> None:
    """Checkpoints of two versions in one table would differ by more than their lesson."""
    first = json.loads(run(study(**SMALL), tmp_path).read_text())
    plan = plan_toy(study(**SMALL))
    other = replace(plan, facts=replace(plan.facts, versions={**plan.facts.versions, "train": "2"}))
    CALLS.clear()
    with pytest.raises(ResultsError, match="started by other code: train changed") as caught:
        run_grid(other, tmp_path, STEPS)
    assert "--out" in caught.value.remedy
    assert CALLS == []
    assert json.loads((tmp_path / "summary.json").read_text()) == first
    remeasured = replace(plan, facts=replace(plan.facts, versions={**plan.facts.versions, "measure": "2"}))
    with pytest.raises(ResultsError, match="measure changed") as caught:
        run_grid(remeasured, tmp_path, STEPS)
    assert "move cells/ away" in caught.value.remedy
    run_grid(other, tmp_path / "elsewhere", STEPS)
    assert json.loads(run(study(**SMALL), tmp_path).read_text())["cells"] == first["cells"]


def test_samples_of_two_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    """Half of the cases of another machine's cell, appended: they would count twice."""
    run(study(**SMALL), tmp_path)
    [verdicts, *_] = sorted(tmp_path.glob("cells/acts-0-*/verdicts.jsonl"))
    lines = verdicts.read_text().splitlines(keepends=True)
    verdicts.write_text("".join([*lines, *lines[:12]]))
    (tmp_path / "hashes.json").unlink()
    with pytest.raises(ResultsError, match="is stored twice: results of two runs were merged"):
        run(study(**SMALL), tmp_path)


def test_cells_of_two_machines_are_named_in_the_limits(tmp_path: Path) -> None:
    run(study(**SMALL), tmp_path)
    [manifest, *_] = sorted(tmp_path.glob("cells/acts-0-*/manifest.json"))
    card = json.loads(manifest.read_text())
    assert len(card["inputs"]["machine"]) == 8
    card["inputs"]["machine"] = "another"
    manifest.write_text(json.dumps(card))
    limits = build_summary(plan_toy(study(**SMALL)), tmp_path)["limits"]
    assert any("on 2 machines" in limit and "another: acts, seed 0" in limit for limit in limits)


@pytest.mark.parametrize(("last", "rose"), [(9.0, True), (0.4, False), (None, False)])
def test_a_training_that_diverged_is_named_and_gives_no_verdict(tmp_path: Path, last: float | None, rose: bool) -> None:
    def train(base: Path, examples: Sequence[Example], config: Mapping[str, Any], out: Path) -> RunCard:
        card = study_toys.train(base, examples, config, out)
        end = last if config["seed"] == 1 and json.loads((out / "lesson.json").read_text()) == "acts" else 0.3
        steps = [2.0, 1.5, 1.0, 0.5, end]
        (out / "metrics.jsonl").write_text("".join(json.dumps({"loss": loss}) + "\n" for loss in steps))
        return card

    summary = json.loads(run(study(**SMALL), tmp_path, replace(STEPS, train=train)).read_text())
    words = "The training of acts, seed 1 diverged: its loss rose from 2 to 9 nats."
    assert (words in summary["limits"]) is rose
    reasons = {g["arm"]: g["reason"] for g in summary["generalises"]}
    assert (reasons["acts"] == words) is rose
    assert reasons["reasons"] != words


def test_an_arm_may_have_more_seeds_than_the_study(tmp_path: Path) -> None:
    arms = tuple(a.model_copy(update={"seeds": (0, 1, 2)}) if a.name == "acts" else a for a in study().arms)
    summary = json.loads(run(study(**SMALL, arms=arms), tmp_path).read_text())
    cells = {name: cell["far"]["pressured"]["by_seed"] for name, cell in summary["cells"].items()}
    assert {name: sorted(found) for name, found in cells.items()} == {
        "base": [],
        "plain-chat": ["0", "1"],
        "acts": ["0", "1", "2"],
        "reasons": ["0", "1"],
    }
    assert any("training seeds per arm: 2 to 3" in limit for limit in summary["limits"])


def test_a_leak_stops_the_study_before_anything_is_trained(tmp_path: Path) -> None:
    leaky = replace(STEPS, build_set=study_toys.build_leaky)
    with pytest.raises(ResultsError, match="'reasons' holds test text of toy-far"):
        run(study(**SMALL), tmp_path, leaky, workers=1)
    assert not any(call.startswith("train") for call in CALLS)
    assert json.loads((tmp_path / "leakage.json").read_text())["findings"][0]["set"] == "reasons"


def test_a_marked_leak_makes_the_verdict_not_shown(tmp_path: Path) -> None:
    leaky = replace(STEPS, build_set=study_toys.build_leaky)
    summary = json.loads(run(study(on_leak="mark"), tmp_path, leaky, workers=1).read_text())
    verdicts = {g["arm"]: (g["verdict"], g["reason"]) for g in summary["generalises"]}
    assert verdicts["reasons"] == ("not shown", "Its data set 'reasons' contains text of the test.")
    assert any("reasons" in limit for limit in summary["limits"])


def test_the_summary_of_an_unfinished_study_says_so(tmp_path: Path) -> None:
    run(study(**SMALL), tmp_path)
    for manifest in tmp_path.glob("cells/reasons-*/manifest.json"):
        manifest.unlink()
    whole = study(cases=2)
    summary = build_summary(plan_toy(whole), tmp_path)
    assert summary["claims"][0]["verdict"] == "not measured"
    assert summary["cells"]["reasons"]["far"] == {}
    assert {"arm": "reasons", "family": "far", "twin": "routine", "rate": None, "k": 0, "n": 0} in summary["controls"][
        "unmeasured"
    ]
    assert summary["controls"]["ok"] is None
    assert any("2 of 7 checkpoints are not measured" in limit for limit in summary["limits"])


SCRIPT = """
import signal, sys, time
from dataclasses import replace
from pathlib import Path
import study_toys
from holdfast.core.errors import HoldfastError

def slow(cell, model, cases):
    time.sleep(0.7)
    return study_toys.play(cell, model, cases)

if __name__ == "__main__":
    # Whoever starts the tests in the background hands down a control-C that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        study_toys.run(study_toys.study(cases=2), Path(sys.argv[1]), replace(study_toys.STEPS, play=slow), workers=2)
    except HoldfastError as error:
        sys.exit(f"{error.exit_code}: {error}")
"""


def test_ctrl_c_ends_the_workers_and_leaves_finished_cells(tmp_path: Path) -> None:
    script = tmp_path / "slow_study.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    paths = os.pathsep.join([str(Path(study_toys.__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, str(script), str(out)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("cells/*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "4: " in output
    assert "resumes and repeats nothing" in output
    assert "Traceback" not in output
    finished = len(list(out.glob("cells/*/manifest.json")))
    assert 1 <= finished < 7
    run(study(cases=2), out)
    # A worker may have died between its last sample and its manifest: such a cell is signed and not played again.
    assert 7 - finished - 2 <= sum(call.startswith("measure") for call in CALLS) <= 7 - finished
