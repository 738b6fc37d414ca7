"""`holdfast teach mix`, `export`, `check` and `audit` on the command line."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast.cli.teach as cli_teach
from bench.repeating_teacher import Faults, RepeatingTeacher
from holdfast.cli.main import run


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for recipe in ("difficult-advice", "plain-chat"):
        assert run(["teach", recipe, "--tokens", "2k", "--out", str(folder / recipe)]) == 0
    return folder


def test_mix_export_check_audit(sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mixed, out = tmp_path / "mix", tmp_path / "out"
    parts = [f"{sets / 'difficult-advice'}=1k", "--replay", f"{sets / 'plain-chat'}=1k"]
    assert run(["teach", "mix", *parts, "--out", str(mixed)]) == 0
    assert "of them replay" in capfd.readouterr().out
    assert (
        run(["teach", "export", str(mixed), "--as", "prompt-completion", "--out", str(out), "--file", "parquet"]) == 0
    )
    assert (out / "train.parquet").is_file()
    assert run(["teach", "check", str(mixed), "--against", str(sets / "plain-chat"), "--json"]) == 0
    captured = capfd.readouterr().out
    quality = json.loads(captured[captured.index("{") :])
    shared = quality["overlap"]["counts"]["shares a passage with a given text"]
    assert 0 < shared["count"] < quality["examples"], "the half that was copied from there"
    assert run(["teach", "check", str(mixed), "--sample", str(tmp_path / "page.html"), "--size", "5"]) == 0
    assert (tmp_path / "page.html").read_text().count("<article") == 5
    capfd.readouterr()
    assert run(["teach", "audit", str(mixed), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["documents"] == quality["examples"]


HEAVY = """
import sys
from holdfast.cli.main import run
code = run(sys.argv[1:])
heavy = {"torch", "transformers", "inspect_ai", "trl", "ray"}
print(code, sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""


def test_teach_and_mix_load_no_torch(sets: Path, tmp_path: Path) -> None:
    for arguments in (
        ["stories", "--tokens", "1k", "--out", str(tmp_path / "set")],
        ["mix", f"{sets / 'plain-chat'}=1k", "--out", str(tmp_path / "mix")],
    ):
        command = [sys.executable, "-c", HEAVY, "teach", *arguments]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert output.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mix", "nowhere", "--out", "x"], "'nowhere' is not NAME=VALUE"),
        (["mix", "nowhere=1k", "--out", "x"], "no manifest"),
        (["mix", "nowhere=many", "--out", "x"], "is not a number of tokens"),
        (["export", "nowhere", "--as", "mesages", "--out", "x"], "did you mean 'messages'"),
        (["check", "nowhere"], "no manifest"),
        (["audit", "nowhere"], "no readable corpus file found"),
        (["stories", "--tokens", "1k", "--charter", "nowhere", "--out", "x"], "no principles"),
        (["storys", "--tokens", "1k", "--out", "x"], "did you mean 'stories'"),
    ],
)
def test_invalid_input_gives_a_one_line_error(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["teach", *arguments]) == 2
    errors = capfd.readouterr().err
    assert message in errors and errors.count("\n") == 1


def test_a_full_disk_stops_the_command_and_answers_are_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["teach", "stories", "--tokens", "2k", "--out", str(tmp_path / "set")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal, so writing fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        assert run(command) == 4
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    errors = capfd.readouterr().err
    assert "the file size limit is reached" in errors and errors.count("\n") == 1
    assert not (tmp_path / "set" / "examples.jsonl").exists()
    assert run(command) == 0
    assert run([*command[:-1], str(tmp_path / "whole")]) == 0
    sets = [(tmp_path / name / "examples.jsonl").read_bytes() for name in ("set", "whole")]
    assert sets[0] == sets[1]


def test_a_plan_without_a_price_gives_tokens_and_says_how_to_give_one(capfd: pytest.CaptureFixture[str]) -> None:
    given = ["teach", "plan", "stories", "--tokens", "1k", "--teacher", "openai/gpt-none"]
    assert run(given) == 0
    errors = capfd.readouterr().out
    assert "tokens in, " in errors and "$" not in errors
    assert "no price is known for openai/gpt-none: add --prices FILE" in errors
    assert run([*given, "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert plan["dollars"] is plan["dollars_per_record"] is None
    assert plan["tokens_in"] > 0


def test_the_command_prints_cost_before_and_after_and_the_cells_that_ended_early(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    faults = Faults(repeats=0, favourites=2, dry="area: work", answers=0, refusals=0, foreign=0, off_form=0, low=0)
    monkeypatch.setattr(cli_teach, "open_model", lambda name, network: RepeatingTeacher(faults))
    monkeypatch.setattr(cli_teach, "checkpoint_path", lambda name: tokenizer)
    (tmp_path / "plan.toml").write_text('cells = ["area"]\n[axes]\narea = ["work", "family"]\n')
    (tmp_path / "prices.toml").write_text('[models."bench/repeating"]\nin = 3.0\nout = 15.0\nas_of = "2026-11"\n')
    options = ["--teacher", "bench/repeating", "--tokens", "2k", "--out", str(tmp_path / "set")]
    options += ["--plan", str(tmp_path / "plan.toml"), "--prices", str(tmp_path / "prices.toml")]
    assert run(["teach", "plan", "difficult-advice", *options, "--json"]) == 0
    stages = [row["stage"] for row in json.loads(capfd.readouterr().out)["stages"]]
    assert stages[:2] == ["fan-out: topics", "fan-out: situations"] and stages[-1] == "difficult-advice: grade"
    assert run(["teach", "difficult-advice", *options]) == 0
    shown = capfd.readouterr()
    before, after = (next(line for line in shown.out.split("\n") if line.startswith(s)) for s in ("estimate:", "cost:"))
    assert re.fullmatch(r"estimate: \d+ items, \d+ requests, \d+ tokens in, \d+ out, \$\d+\.\d\d", before)
    assert re.fullmatch(r"cost: \d+ requests, \d+ tokens in, \d+ out, \$\d+\.\d\d", after)
    requests = int(after.split()[1])
    rows = [path.read_text().count("\n") for path in (tmp_path / "set" / "answers").glob("*.jsonl")]
    assert requests == sum(rows) > 50
    assert re.search(r"^work: \d+ of [\d.]+ examples; closed: ", shown.err, re.MULTILINE)
    assert "family:" not in shown.err
