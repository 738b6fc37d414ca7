"""`measure --plan`: an API model needs neither key nor price, and the answer comes at once."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import ModelError
from holdfast.models import Request
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


def test_without_key_package_or_price_it_answers_within_two_seconds_of_cpu() -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", ALONE], env=surroundings, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "36 cells, 720 samples, 2880 requests" in done.stdout
    assert f"no price known for {MODEL}: --prices FILE" in done.stdout
    assert "$" not in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 2


def test_a_price_makes_it_money(tmp_path: Path, capsys: Captured) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(f'[models."{MODEL}"]\nin = 1.0\nout = 2.0\n')
    assert run([*PLAN, "--prices", str(prices), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert float(found["dollars"]) == pytest.approx((found["read"] + 2 * found["written"]) / 1e6, abs=1e-3)
    assert run([*PLAN, "--prices", str(prices)]) == 0
    shown = capsys.readouterr().out
    assert "no price known" not in shown
    assert re.search(r"tokens written, if 300 a turn: \$\d", shown)


def test_without_a_price_the_money_is_missing_and_not_zero(capsys: Captured) -> None:
    assert run([*PLAN, "--json", "--judge", "google/no-such-judge"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dollars"] is found["judges"][0]["dollars"] is None
    assert found["read"] > 0 and found["judges"][0]["read"] > 0
    assert run([*PLAN, "--judge", "google/no-such-judge"]) == 0
    assert "no price known for google/no-such-judge: --prices FILE" in capsys.readouterr().out


@pytest.mark.parametrize("suite", suite_names())
def test_counting_some_cases_comes_near_counting_all(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting, _ = fitted(load_suite(suite), MODEL, "office")
    order, model = MeasureConfig(fitting, MODEL, range(20)), name_model(MODEL)
    some = room.estimate(order, model)
    monkeypatch.setattr(room, "COUNTED", 10**9)
    whole = room.estimate(order, model)
    assert (whole.counted, whole.error) == (whole.samples, (0.8, 1.33))
    assert some.counted < whole.counted
    assert (some.cells, some.samples, some.requests) == (whole.cells, whole.samples, whole.requests)
    # The bounds are relative to what was counted, and hold what counting every case would have given.
    assert some.read * some.error[0] <= whole.read * whole.error[0] * 1.005
    assert some.read * some.error[1] >= whole.read * whole.error[1] * 0.995
    assert some.read == pytest.approx(whole.read, rel=0.02)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", "opnai/x"], "did you mean 'openai/…'?"),
        (["--model", MODEL, "--judge", "opnai/x"], "did you mean 'openai/…'?"),
        (["--model", "openai/"], "no model called 'openai/'"),
    ],
)
def test_a_misspelt_name_is_still_refused(given: list[str], said: str, capsys: Captured) -> None:
    assert run(["measure", *given, "--worlds", "leaking", "--plan"]) == 2
    assert said in capsys.readouterr().err


def test_a_model_that_was_only_named_answers_nothing() -> None:
    with pytest.raises(ModelError, match="was only named, not opened"):
        name_model(MODEL).generate([Request("c", [])])
