"""Runs the commands of a page in a scratch folder, one after the other, as a person would who types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import Command

_STATE = ".environment"


@dataclass(frozen=True)
class How:
    """What the runner knows of a kind of command.

    Attributes:
        slow: run by the slow tests only.
        up: it waits for something: a pattern that it writes once it is up.  It is then stopped.
        stays: it is stopped at the end of the page only, since what follows needs it.
        typed: what a person types into it.
        code: the exit code that the page expects of it.
        instead: what is run in its place; why is said beside the entry.
    """

    slow: bool = False
    up: str = ""
    stays: bool = False
    typed: str = ""
    code: int = 0
    instead: str = ""


@dataclass
class Shell:
    """A scratch folder with its environment.

    What is exported stays for the commands that follow, and what was started and stays is stopped by `close`.
    """

    folder: Path
    environ: dict[str, str]
    patience: float = 100.0
    said: str = ""
    _running: list[tuple[subprocess.Popen[str], threading.Thread]] = field(default_factory=list)

    def run(self, command: Command, how: How) -> None:
        """Run a command.

        Raises:
            AssertionError: another exit code than expected, no sign that it is up, or no end; with what it said.
        """
        text = how.instead or command.text
        if how.up:
            self._start(command, text, how)
            return
        keeping = f"{self._restored()}{text}\ncode=$?\nexport -p > '{self.folder / _STATE}'\nexit $code"
        process = self._open(keeping)
        try:
            self.said, _ = process.communicate(how.typed, timeout=self.patience)
        except subprocess.TimeoutExpired:
            _stop(process)
            self.said, _ = process.communicate()
            raise AssertionError(
                f"{command.where}: not done after {self.patience:.0f} s: {text}\n{self.said}"
            ) from None
        found = process.returncode
        assert found == how.code, f"{command.where}: exit code {found}, not {how.code}: {text}\n{self.said}"
        assert "Traceback (most recent call last)" not in self.said, f"{command.where}: {text}\n{self.said}"

    def close(self) -> None:
        """Stop what still runs."""
        for process, listener in self._running:
            _end(process, listener)

    def _restored(self) -> str:
        state = self.folder / _STATE
        return f". '{state}'\n" if state.exists() else ""

    def _open(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _start(self, command: Command, text: str, how: How) -> None:
        process = self._open(f"{self._restored()}{text}")
        heard: list[str] = []
        listener = threading.Thread(target=_listen, args=(process, heard), daemon=True)
        listener.start()
        assert process.stdin
        process.stdin.write(how.typed)
        process.stdin.flush()
        up = _within(self.patience, lambda: bool(re.search(how.up, "".join(heard))) or process.poll() is not None)
        alive = process.poll() is None
        if alive and up and how.stays:
            self._running.append((process, listener))
            return
        _end(process, listener)
        self.said = "".join(heard)
        assert alive, f"{command.where}: ended by itself with {process.returncode}: {text}\n{self.said}"
        assert up, f"{command.where}: not up after {self.patience:.0f} s: {text}\n{self.said}"


def _listen(process: subprocess.Popen[str], heard: list[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        heard.append(line)


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[str], listener: threading.Thread) -> None:
    """Stop a process that is listened to, and close what led to it."""
    _stop(process)
    listener.join(5)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started, with the signal of control-C first."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        break
    # What the first process started may outlive it, and hold its output open.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
