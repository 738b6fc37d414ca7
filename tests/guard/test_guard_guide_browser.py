"""The guide walked in a browser and a terminal: its own files, its own commands, a phone's width."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.guard.act import Act
from holdfast.guard.policy.load import load_policy
from holdfast.guard.setup import open_gate
from tests.guard.test_guard_review_page import opened_browser

DOCS = Path(__file__).parents[2] / "docs"
HOLDFAST = [sys.executable, "-W", "ignore", "-m", "holdfast.cli.main", "guard"]
pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"])]


def block(page: str, name: str) -> str:
    """Return the file of this name as a page of the guide prints it."""
    found = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    assert found, f"docs/{page} has no file {name}"
    return found[1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home folder with the files that the guide says to write."""
    state = tmp_path / ".holdfast" / "guard"
    state.mkdir(parents=True, mode=0o700)
    (state / "routing.toml").write_text(block("guard-review.md", "~/.holdfast/guard/routing.toml"))
    (tmp_path / "files.yaml").write_text(block("guard-relay.md", "files.yaml"))
    return tmp_path


@pytest.fixture
def served(home: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Run `holdfast guard review`; yield the address that it prints, and a function that reads the next admin code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [*HOLDFAST, "review", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        site = next(lines).partition("review page: ")[2].strip()
        for _ in range(600):
            with socket.socket() as reached:
                if reached.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield site, lambda: next(lines).partition("enrolment: ")[2].strip()
        process.terminate()


def holdfast(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run([*HOLDFAST, *arguments], cwd=home, env=environment, capture_output=True, text=True)


def fits(page: Any) -> bool:
    """Return whether nothing is wider than the window, and no text is smaller than ten pixels."""
    right = "Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
    size = "Math.min(...[...document.querySelectorAll('main *')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    wide = page.evaluate("document.documentElement.scrollWidth") <= 400 and page.evaluate(right) <= 401
    return bool(wide and page.evaluate(size) >= 10)


def test_the_guide_is_walked_on_a_phone(home: Path, served: tuple[str, Callable[[], str]], tmp_path: Path) -> None:
    site, code = served
    before = holdfast(home, "check", "files.yaml")
    assert "ann-ito" in before.stdout + before.stderr, "check says that nobody is enrolled"
    act = Act(
        "first",
        "clerk",
        "files",
        "move_file",
        {"source": "/home/me/work/plan.txt", "destination": "/home/me/work/old.txt"},
    )
    with (
        opened_browser() as page,
        open_gate(home / ".holdfast" / "guard", load_policy(home / "files.yaml")) as (gate, _),
    ):
        page.set_viewport_size({"width": 400, "height": 800})
        page.goto(f"{site}/enrol")
        assert fits(page)
        for name, value in (("person", "ann-ito"), ("name", "Ann Ito"), ("role", "safety reviewer"), ("code", code())):
            page.fill(f"[name={name}]", value)
        page.screenshot(path=str(tmp_path / "1-enrol.png"), full_page=True)
        page.click("text=Create a passkey")
        page.wait_for_url(f"{site}/")
        page.click("button >> text=Sign in")
        page.wait_for_selector("text=Sign out")
        held = gate.judge(act)
        assert held.answer == "hold" and "ticket" in held.agent_message
        page.goto(site)
        assert fits(page)
        page.screenshot(path=str(tmp_path / "2-list.png"), full_page=True)
        page.click("text=files/move_file")
        page.wait_for_selector("text=What will happen")
        assert fits(page) and page.inner_text("h2") == "Why it is held"
        page.screenshot(path=str(tmp_path / "3-act.png"), full_page=True)
        ticket = held.agent_message.partition("ticket ")[2].partition(",")[0]
        assert ticket in holdfast(home, "approve", "list").stdout
        page.fill("[name=reason]", "the archive moves on Friday")
        page.click("text=Approve this act once")
        page.wait_for_selector(".state.approved")
        again = gate.judge(act)
        assert again.answer == "allow" and again.stored == act
        gate.settle(act, {"ok": True})
        assert gate.judge(act).answer == "hold"
        concern = gate.raise_concern(
            Act("first", "clerk", "files", "raise_concern", {"about": "the plan", "concern": "it is wrong"})
        )
        case = concern.partition("Case ")[2].partition(".")[0]
        page.goto(site)
        page.click(f"text=Case {case}")
        page.wait_for_selector("blockquote")
        assert fits(page) and "it is wrong" in page.inner_text("main")
        page.screenshot(path=str(tmp_path / "4-case.png"), full_page=True)
        page.fill("[name=reply]", "Thank you. It is corrected.")
        page.click("text=Answer and release its tools")
        page.wait_for_selector(".state.answered")
        read = gate.raise_concern(Act("first", "clerk", "files", "raise_concern", {"case": case}))
        assert "It is corrected." in read
        assert page.faults == []
    after = holdfast(home, "check", "files.yaml")
    assert "no reviewer is enrolled" not in after.stdout + after.stderr
    assert holdfast(home, "verify", str(home / ".holdfast/guard/guard.db")).stdout.startswith("valid")
