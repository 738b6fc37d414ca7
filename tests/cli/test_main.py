"""The command line: start time, one-line errors, exit codes."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from holdfast.cli.main import VERBS, holdfast, run
from holdfast.core.errors import HoldfastError, IncompleteError, InputError, PrerequisiteError

Captured = pytest.CaptureFixture[str]


Fail = Callable[[BaseException], str]


@pytest.fixture
def failing() -> Iterator[Fail]:
    """Add a verb that raises an error and return its name; the verb is removed after the test."""

    def add(error: BaseException) -> str:
        def fail() -> None:
            raise error

        holdfast.add_command(click.Command("failing", callback=fail))
        return "failing"

    yield add
    holdfast.commands.pop("failing")


#: Prints the installed packages that were imported to answer --help.
LOADED = """
import contextlib, io, sys
from holdfast.cli.main import run
with contextlib.redirect_stdout(io.StringIO()):
    code = run(["--help"])
names = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(code, *sorted(name for name in names if not name.startswith("_")))
"""


def test_help_loads_nothing_but_click_and_the_commands_names(capsys: Captured) -> None:
    output = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout
    assert output.split() == ["0", "click", "holdfast"]
    assert run(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_every_verb_contains_its_line_of_the_table(name: str, capsys: Captured) -> None:
    assert run([name, "--help"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"holdfast {name}" in output
    assert VERBS[name] in output


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no arm", where="a.toml:3", remedy="did you mean 'b'?"), 2, "a.toml:3: no arm (did you mean 'b'?)"),
        (PrerequisiteError("trl is not installed", remedy="pip install 'holdfast-align[train]'"), 3, "pip install"),
        (
            ModuleNotFoundError("No module named 'trl'", name="trl"),
            3,
            "trl is not installed (pip install 'holdfast-align[train]')",
        ),
        (ModuleNotFoundError("", name="trl.trainer"), 3, "trl is not installed (pip install 'holdfast-align[train]')"),
        (
            ModuleNotFoundError("", name="inspect_ai"),
            3,
            "inspect_ai is not installed (pip install 'holdfast-align[measure]')",
        ),
        (
            ModuleNotFoundError("", name="no_such_thing"),
            3,
            "no_such_thing is not installed (pip install no_such_thing)",
        ),
        (IncompleteError("interrupted"), 4, "interrupted"),
        (HoldfastError("two\nlines"), 4, "two lines"),
        (KeyboardInterrupt(), 4, "run the same command again to resume"),
        (ValueError("odd"), 4, "ValueError: odd (a bug in Holdfast; set HOLDFAST_DEBUG=1 to see the traceback)"),
    ],
)
def test_an_error_gives_one_line_and_an_exit_code(
    failing: Fail, error: BaseException, code: int, line: str, capsys: Captured
) -> None:
    assert run([failing(error)]) == code
    output = capsys.readouterr()
    assert output.out == ""
    # A line feed may come first: it ends the line on which the terminal shows ^C.
    assert output.err.lstrip("\n").startswith("error: ")
    assert output.err.strip().count("\n") == 0
    assert line in output.err


def test_an_error_that_quotes_hostile_text_shows_no_control_character(failing: Fail, capsys: Captured) -> None:
    """A judge's server, or the folder of somebody else, may word a part of an error."""
    assert run([failing(IncompleteError("the server sent '\x1b]0;owned\x07\u202e'"))]) == 4
    shown = capsys.readouterr().err
    assert "the server sent '⟨U+001B⟩]0;owned⟨U+0007⟩⟨U+202E⟩'" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_debug_shows_the_traceback(failing: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    with pytest.raises(ValueError, match="odd"):
        run([failing(ValueError("odd"))])


@pytest.mark.parametrize("arguments", [["repot"], ["report"], ["report", "--nope"], ["worlds", "show"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: Captured) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_group_without_a_verb_shows_its_help(capsys: Captured) -> None:
    assert run(["models"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Usage: holdfast models") and any(line.strip().startswith("get ") for line in lines)


def test_a_wrong_verb_names_the_right_one(capsys: Captured) -> None:
    assert run(["repot"]) == 2
    assert "did you mean 'report'?" in capsys.readouterr().err


def test_no_arguments_show_the_table(capsys: Captured) -> None:
    run([])
    assert "demo" in "".join(capsys.readouterr())


# If the tests run in the background, the process inherits an ignored SIGINT; so set the default handler.
SLEEPER = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)
import click
from holdfast.cli.main import main
@click.command()
def command():
    print("ready", flush=True)
    time.sleep(600)
sys.modules["holdfast.cli.report"] = types.SimpleNamespace(command=command)
main(["report"])
"""


def test_control_c_exits_with_4_and_says_that_finished_work_is_kept() -> None:
    command = [sys.executable, "-c", SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=120)
    assert process.returncode == 4
    assert output.lstrip("\n") == "error: interrupted (finished work is kept; run the same command again to resume)\n"


def test_report_of_an_invalid_summary_is_a_one_line_error(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "summary.json").write_text('{"schema": 1, "arms": [')
    assert run(["report", str(tmp_path)]) == 2
    assert "summary.json:1: half written" in capsys.readouterr().err
    (tmp_path / "summary.json").write_text('{"schema": 1}')
    assert run(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out
