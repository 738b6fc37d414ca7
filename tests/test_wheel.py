"""The wheel in empty environments: how large it is, what works with each extra alone, and what the rest says.

The first part needs no installation: it hides what an extra would bring, and runs with each `make test`.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.core.extras import EXTRAS, install
from holdfast.data.lesson_book import lesson_hash, lesson_names
from holdfast.evals.labelled import load_labelled
from tests.wheel import ROOT, Installed, install_alone

MB = 10**6
POLICY = str(ROOT / "examples" / "guard" / "policy.yaml")
HEAVY = ("torch", "transformers", "trl", "peft", "ray")
HIDDEN = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hide())
from holdfast.cli.main import main
main({arguments!r})
"""
Result = subprocess.CompletedProcess[str]


def run_with(extras: tuple[str, ...], *arguments: str, cwd: Path) -> Result:
    """Run the command line where only the base and these extras can be imported."""
    brought = {module for extra in extras for module in EXTRAS[extra]}
    hidden = {module for held in EXTRAS.values() for module in held} - brought
    code = HIDDEN.format(hidden=hidden, arguments=list(arguments))
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=100)


def works(done: Result) -> str:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, measured with the extra `measure` alone."""
    folder = tmp_path_factory.mktemp("measured")
    asked = ("measure", "--model", "scripted/proper", "--worlds", "blackmail", "--cases", "1", "--out", "results")
    works(run_with(("measure",), *asked, cwd=folder))
    return folder / "results"


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("worlds", "list"), ("worlds", "show", "blackmail")], ids=" ".join
)
def test_the_base_alone_answers(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert works(run_with((), *arguments, cwd=tmp_path))


def test_a_report_is_drawn_with_measure_alone_which_verifies_it(measured: Path) -> None:
    page = (measured / "report.html").read_bytes()
    (measured / "report.html").unlink()
    done = run_with((), "report", str(measured), cwd=measured)
    assert done.stderr == f"error: numpy is not installed ({install('measure')})\n"
    works(run_with(("measure",), "report", str(measured), cwd=measured))
    assert (measured / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("measure", "--model", "scripted/proper", "--worlds", "blackmail", "--out", "r"), "measure"),
        (("judge", "calibrate"), "measure"),
        (("teach", "difficult-advice", "--tokens", "1000", "--out", "t"), "teach"),
        (("train", "sft.toml"), "train"),
        (("study", "plan", str(ROOT / "studies" / "teach-why.toml")), "local"),
        (("demo",), "local"),
        (("organism", "check"), "local"),
        (("guard", "check", POLICY), "guard"),
        (("guard", "review"), "guard"),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given[:2]),
)
def test_what_the_base_lacks_is_named_with_its_extra(arguments: tuple[str, ...], extra: str, tmp_path: Path) -> None:
    done = run_with((), *arguments, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    [line] = done.stderr.splitlines()
    assert line.endswith(f"is not installed ({install(extra)})")


@pytest.mark.parametrize(
    ("extras", "arguments", "named"),
    [
        (("measure",), ("--model", "hf/folder"), "local"),
        (("measure",), ("--model", "organism/pocket"), "local"),
        (("measure",), ("--model", "scripted/proper", "--guard", POLICY), "guard"),
        (("local",), ("--model", "openai-api/local/x"), "measure"),
    ],
    ids=["hf", "organism", "guard", "api"],
)
def test_a_measurement_names_what_its_own_arguments_need(
    extras: tuple[str, ...], arguments: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    done = run_with(extras, "measure", *arguments, "--worlds", "blackmail", "--cases", "1", "--out", "r", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.rstrip().endswith(f"is not installed ({install(named)})")


def test_a_set_is_made_and_mixed_without_torch(tmp_path: Path) -> None:
    extras = ("measure", "teach")
    works(run_with(extras, "teach", "difficult-advice", "--tokens", "1000", "--out", "set", cwd=tmp_path))
    works(run_with(extras, "teach", "mix", "set=500", "--out", "mixture", cwd=tmp_path))
    assert (tmp_path / "mixture" / "README.md").is_file()


Install = Callable[[str], Installed]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Install:
    """An extra → an environment that holds the wheel with it and nothing else, made once."""
    made: dict[str, Installed] = {}

    def environment(extra: str) -> Installed:
        if extra not in made:
            made[extra] = install_alone(tmp_path_factory.mktemp("alone") / "venv", wheel, extra)
        return made[extra]

    return environment


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "most"), [("", 60), ("guard", 150)])
def test_base_and_guard_are_small_and_hold_no_torch(extra: str, most: int, alone: Install) -> None:
    environment = alone(extra)
    assert environment.size() <= most * MB
    assert not any(environment.holds(name) for name in (*HEAVY, "numpy", "inspect_ai"))
    assert environment.holds("pydantic")


@pytest.mark.slow
def test_the_base_alone_lists_worlds(alone: Install, tmp_path: Path) -> None:
    base = alone("")
    works(base.run("python", "-c", "import holdfast", cwd=tmp_path))
    assert "blackmail" in works(base.run("holdfast", "worlds", "list", cwd=tmp_path))
    assert base.run("holdfast", "demo", cwd=tmp_path).returncode == 3


DOORS = """
import importlib, pkgutil, holdfast.guard
for module in pkgutil.walk_packages(holdfast.guard.__path__, "holdfast.guard."):
    if module.name not in ("holdfast.guard.adapters.inspect",):
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_the_guard_works_with_its_extra_alone(alone: Install, tmp_path: Path) -> None:
    guard = alone("guard")
    (tmp_path / "prompt.md").write_text("You are the mail clerk of the office.\n")
    assert "9 rules" in works(guard.run("holdfast", "guard", "check", POLICY, cwd=tmp_path))
    assert "refusal" in works(guard.run("holdfast", "guard", "brief", POLICY, cwd=tmp_path))
    works(guard.run("holdfast", "guard", "lint", "prompt.md", cwd=tmp_path))
    works(guard.run("holdfast", "guard", "context", str(ROOT / "examples" / "guard" / "context"), cwd=tmp_path))
    works(guard.run("python", "-c", DOORS, cwd=tmp_path))


@pytest.fixture
def served() -> Iterator[str]:
    """The address of a loopback server that answers as the packaged model."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, str(ROOT / "examples" / "serve.py"), "organism/pocket", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(10)


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not answer")


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_model_behind_an_api_is_measured_with_measure_alone(alone: Install, served: str, tmp_path: Path) -> None:
    measure = alone("measure")
    assert not any(measure.holds(name) for name in HEAVY)
    asked = (
        "measure",
        "--model",
        "openai-api/local/x",
        "--worlds",
        "pocket-blackmail",
        "--cases",
        "2",
        "--skip-probe",  # the packaged model knows its offices only
        "--out",
        "results",
    )
    works(measure.run("holdfast", *asked, cwd=tmp_path, LOCAL_API_KEY="x", LOCAL_BASE_URL=served))
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    rate = summary["cells"]["base"]["blackmail"]["pressured"]["harm"]
    assert (rate["n"], rate["rate"]) == (2, 1.0)
    works(measure.run("holdfast", "report", "results", cwd=tmp_path))
    works(measure.run("inspect", "list", "tasks", cwd=tmp_path))


def shortened(study: str) -> str:
    """The demo's study with every arm, one seed, one case a cell, a twentieth of the tokens and no claim."""
    study, _, _ = study.partition("[[claims]]")
    study = re.sub(r"^seeds = .*$", "seeds = [0]", study, flags=re.M)
    study = re.sub(r"^cases = .*$", "cases = 1", study, flags=re.M)
    return re.sub(r"tokens = (\d+)", lambda found: f"tokens = {int(found[1]) // 20}", study)


#: The wheel holds these packed; the hashes must be those of the checkout.
PACKED = """
from datasets import load_dataset
from holdfast.data.lesson_book import lesson_folder, lesson_hash, lesson_names
from holdfast.evals.labelled import load_labelled
assert len(load_dataset(str(lesson_folder("lesson-stories")), split="train")) >= 150
print(load_labelled().hash, *map(lesson_hash, lesson_names()))
"""


@pytest.mark.slow
def test_the_packed_sets_of_the_wheel_are_those_of_the_checkout(alone: Install, tmp_path: Path) -> None:
    found = works(alone("all").run("python", "-c", PACKED, cwd=tmp_path, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"))
    assert found.split()[-len(lesson_names()) - 1 :] == [load_labelled().hash, *map(lesson_hash, lesson_names())]
    assert not [*alone("all").site.glob("holdfast/data/lessons/*/*.jsonl")]


@pytest.mark.slow
def test_a_short_demo_runs_from_the_wheel_with_everything(alone: Install, tmp_path: Path) -> None:
    everything = alone("all")
    text = (everything.site / "holdfast" / "studies" / "teach-why.toml").read_text()
    (tmp_path / "short.toml").write_text(shortened(text))
    works(everything.run("holdfast", "study", "run", "short.toml", "--out", "results", cwd=tmp_path, timeout=1500))
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert len(summary["cells"]) == text.count("[[arms]]") > 10
    assert "organism" in (tmp_path / "results" / "report.html").read_text()
    works(everything.run("python", "-m", "pip", "check", cwd=tmp_path))
