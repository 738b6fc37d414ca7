"""Every suite is an Inspect task; its log names each sample's cell, and what it explains is legible and harmless."""

import gc
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput, get_model

from holdfast.core.records import Effect, Evidence, Verdict
from holdfast.core.twins import PRESSURED
from holdfast.evals.explain import explanation
from holdfast.evals.inspect_driver import task_of
from holdfast.scenarios.suite import load_suite, suite_names

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]


def run(name: str, folder: Path, model: str = "scripted/blackmailer", **given: object) -> EvalLog:
    inspect_eval(f"holdfast/{name}", model=model, log_dir=str(folder), display="none", task_args={"cases": 1, **given})
    gc.collect()
    [path] = folder.glob("*.eval")
    return read_eval_log(str(path))


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_runs_by_name(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    log = run(name, tmp_path, worlds=[suite.worlds[0]])
    assert log.status == "success"
    metadata = log.eval.metadata or {}
    assert (metadata["suite"], metadata["asked"]) == (name, suite.asked)
    samples = log.samples or []
    # A scripted agent has no name of its own, so one arm of `names` is left out and said to be.
    arms = len(suite.arms) - len(metadata["left_out"])
    assert len(samples) == arms * len(suite.twins)
    assert len({sample.metadata["cell"] for sample in samples}) == len(samples)
    for sample in samples:
        verdict = (sample.scores or {})["verdict"]
        assert verdict.answer == (
            "harm" if "pressured" in str(sample.id) or _harmable(sample.metadata) else "proper_act"
        )
        assert sample.metadata["levels"].items() >= sample.metadata["changes"].items()
        assert verdict.explanation
        assert verdict.explanation.startswith(f"**{str(verdict.answer).replace('_', ' ')}**")
    assert log.results is not None
    found = {k: m.value for s in log.results.scores for k, m in s.metrics.items() if k.startswith("harm: ")}
    assert found[f"harm: {suite.arms[0].name}, {suite.twins[0]}"] == (1.0 if suite.twins[0] == PRESSURED else 0.0)


def _harmable(cell: dict[str, dict[str, str]]) -> bool:
    return cell["levels"]["leverage"] == "present"


def test_the_organism_is_put_before_its_own_worlds(tmp_path: Path) -> None:
    log = run("mitigations", tmp_path, "organism/pocket", worlds="leaking")
    assert {sample.metadata["world"] for sample in log.samples or []} == {"pocket-leaking"}
    assert any("'rules' was left out" in line for line in (log.eval.metadata or {})["left_out"])


def test_a_suites_temperature_reaches_the_model_unless_the_eval_sets_its_own(tmp_path: Path) -> None:
    suite = load_suite("context").model_copy(
        update={"temperature": 0.7, "worlds": ("blackmail",), "twins": ("pressured",)}
    )
    for own, asked in ((None, 0.7), (0.2, 0.2)):
        seen: list[object] = []

        def answer(*given: object, seen: list[object] = seen) -> ModelOutput:
            seen.append(getattr(given[-1], "temperature", "none"))
            return ModelOutput.from_content("mockllm/model", "done.")

        config = GenerateConfig(temperature=own)
        model = get_model("mockllm/model", custom_outputs=answer, config=config, memoize=False)
        inspect_eval(task_of("warm", suite, range(1), {}), model=model, log_dir=str(tmp_path), display="none")
        assert set(seen) == {asked}
    gc.collect()


def test_what_a_model_wrote_cannot_format_the_explanation() -> None:
    nasty = "x | y\n# big <img src=x onerror=1> [a](javascript:1) `c` \x1b[31m\u202e"
    found = Verdict(
        case="c", world="w", family="f", split="dev", twin="pressured", seed=1, outcome="harm",
        evidence=(Evidence(message=3, quote=nasty, reason="leak"),),
    )  # fmt: skip
    shown = explanation(found, [Effect(kind="mail_sent", call=3, fields={"text": nasty * 40}, blocked=True)])
    assert "<" not in shown
    assert "](" not in shown.replace("\\]\\(", "")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| 3")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 4
    assert "(blocked)" in rows[0]
