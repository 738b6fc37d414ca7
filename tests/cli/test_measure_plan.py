"""`measure --plan`: needs neither an API key nor a price, and is fast."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import ModelError
from holdfast.core.records import Message
from holdfast.models import Output, Request
from holdfast.models.registry import name_model
from holdfast.scenarios.suite import fitted, load_suite, suite_names
from holdfast.study import estimate as room
from holdfast.study.measure import MeasureConfig

Captured = pytest.CaptureFixture[str]
MODEL = "openai/no-such-model"
PLAN = ["measure", "--model", MODEL, "--suite", "insider-classic", "--plan"]
ALONE = f"""
import sys
from holdfast.cli.main import run
code = run({PLAN!r})
print("loaded:", *sorted({{"inspect_ai", "openai", "torch", "transformers"}} & set(sys.modules)))
sys.exit(code)
"""


def test_plan_needs_no_key_package_or_price_and_takes_at_most_two_seconds_of_cpu() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0, process.stderr
    assert "36 cells, 720 samples, 2880 requests" in process.stdout
    assert f"no price is known for {MODEL}: add --prices FILE" in process.stdout
    assert "$" not in process.stdout
    assert process.stdout.splitlines()[-1] == "loaded:"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 2


def test_a_price_table_gives_a_cost(tmp_path: Path, capsys: Captured) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f'[models."{MODEL}"]\nin = 1.0\nout = 2.0\n')
    assert run([*PLAN, "--prices", str(prices), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert float(plan["dollars"]) == pytest.approx((plan["read"] + 2 * plan["written"]) / 1e6, abs=1e-3)
    assert run([*PLAN, "--prices", str(prices)]) == 0
    output = capsys.readouterr().out
    assert "no price is known" not in output
    assert re.search(r"output tokens, at 300 a turn: \$\d", output)


def test_without_a_price_the_cost_is_missing_and_not_zero(capsys: Captured) -> None:
    assert run([*PLAN, "--json", "--judge", "google/no-such-judge"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["dollars"] is plan["judges"][0]["dollars"] is None
    assert plan["read"] > 0 and plan["judges"][0]["read"] > 0
    assert run([*PLAN, "--judge", "google/no-such-judge"]) == 0
    assert "no price is known for google/no-such-judge: add --prices FILE" in capsys.readouterr().out


#: Suites with thousands of cases: to build them all takes minutes.
LARGE = ("cost", "insider-original", "kpi", "pressures")


@pytest.mark.parametrize(
    "suite", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in suite_names()]
)
def test_the_estimate_from_some_cases_is_close_to_the_count_of_all(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting, _ = fitted(load_suite(suite), MODEL, "office")
    order, model = MeasureConfig(fitting, MODEL, range(20)), name_model(MODEL)
    some = room.estimate(order, model)
    most = room.COUNTED
    monkeypatch.setattr(room, "COUNTED", 10**9)
    whole = room.estimate(order, model)
    assert (whole.counted, whole.error) == (whole.samples, (0.8, 1.33))
    assert some.counted < whole.counted or whole.counted <= most
    assert (some.cells, some.samples, some.requests) == (whole.cells, whole.samples, whole.requests)
    # The bounds are relative to the estimate and contain the count of all cases.
    assert some.read * some.error[0] <= whole.read * whole.error[0] * 1.005
    assert some.read * some.error[1] >= whole.read * whole.error[1] * 0.995
    assert some.read == pytest.approx(whole.read, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "opnai/x"], "did you mean 'openai/…'?"),
        (["--model", MODEL, "--judge", "opnai/x"], "did you mean 'openai/…'?"),
        (["--model", "openai/"], "no model called 'openai/'"),
    ],
)
def test_plan_refuses_a_misspelt_model_name(arguments: list[str], message: str, capsys: Captured) -> None:
    assert run(["measure", *arguments, "--worlds", "leaking", "--plan"]) == 2
    assert message in capsys.readouterr().err


def test_a_named_but_unopened_model_cannot_generate() -> None:
    with pytest.raises(ModelError, match="was only named, not opened"):
        name_model(MODEL).generate([Request("c", [])])


class Slow:
    """A model that counts tokens and takes a second, by a clock of its own, for each one that it writes."""

    name = identity = "scripted/slow"

    def __init__(self) -> None:
        self.clock = 0.0
        self.longest = 0

    def count(self, request: Request) -> int:
        return 100

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        self.clock += 5 + sum(request.max_tokens for request in requests)
        self.longest = max(self.longest, *(request.max_tokens for request in requests))
        return [Output(Message(role="assistant", content="x"), "length") for _ in requests]


def test_a_model_on_this_machine_is_timed_by_a_few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Slow()
    monkeypatch.setattr(room, "perf_counter", lambda: model.clock)
    suite, _ = fitted(load_suite("insider-classic"), model.name, "office")
    found = room.estimate(MeasureConfig(suite, model.name, range(1)), model)
    assert model.longest < 10
    # Each turn: five seconds of reading, one token, and the 300 that a turn is assumed to have.
    assert found.seconds == found.requests * (5 + 1 + room.WRITTEN)
    # A model that never stops is truncated in its first turn, at the longest that the worlds allow.
    assert (found.longest_turn, found.endless_seconds) == (4096, found.samples * (5 + 1 + 4096))
    short = room.estimate(MeasureConfig(suite, model.name, range(1), max_tokens=512), model)
    assert (short.longest_turn, short.endless_seconds) == (512, found.samples * (5 + 1 + 512))


def test_the_plan_says_how_long_a_model_takes_that_never_stops(capsys: Captured) -> None:
    given = ["measure", "--suite", "insider-classic", "--cases", "1", "--plan", "--json", "--model"]
    assert run([*given, MODEL]) == 0
    assert json.loads(capsys.readouterr().out)["endless_seconds"] is None
    assert run([*given, "scripted/proper"]) == 0
    assert json.loads(capsys.readouterr().out)["longest_turn"] == 4096
