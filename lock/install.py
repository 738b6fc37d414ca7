"""Install what a lock names into the environment of the Python that runs this, then Holdfast itself from the checkout.

    .venv/bin/python lock/install.py lock/demo.txt

Every package comes by version and hash.  torch, and what only torch needs, come by version alone: a hash would name one
build, and which build is right (for the CPU alone, or for one kind of GPU) depends on the machine.  pip does the work,
with its own settings; where it fails, one line says which package and what to do, and pip's words are in pip.log.
Needs nothing but Python and pip.  Exit code 3: the lock could not be met.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH = HERE / "torch.txt"
_NAME = r"[A-Za-z0-9][\w.-]*(?:\[[\w,-]*\])?"
_INDEX = "check the network and pip's index settings (`pip config list`), or renew the lock with `make lock`"
_RENEW = "renew the lock with `make lock`"
#: what pip says → what is wrong with the package that it names, and what to do; the first that fits is told
_KINDS = (
    (rf"No matching distribution found for ({_NAME}==\S+)", "is not offered for {python}", _INDEX),
    (
        rf"DO NOT MATCH THE HASHES[\s\S]*?^\s+({_NAME}==[\w.+!-]+)",
        "was offered as a file that the lock does not know: it was changed on the way, or the index built it anew",
        "find out which; where the new file can be trusted, " + _RENEW,
    ),
    (rf"Hashes are required[\s\S]*?^\s+({_NAME}==[\w.+!-]+) --hash", "has no hash in the lock", _RENEW),
    (
        rf"(?:Failed building wheel for|Failed to build(?: '|.*\()) ?({_NAME})",
        "has no ready-made build for {python}, and building it failed",
        "take a Python version with more ready-made builds (PYTHON=python3.12 make …), or " + _RENEW,
    ),
    (
        rf"^({_NAME} \S+) (?:requires|has requirement) .*",
        "needs what the lock does not hold ({line})",
        _RENEW,
    ),
    (r"(No space left on device)", "while packages were written", "make room on the disk and run again"),
)


def explain(said: str) -> str:
    """What pip's words say is wrong with a lock: the package, what about it, and what to do, in one line."""
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}"
    for pattern, what, remedy in _KINDS:
        if found := re.search(pattern, said, flags=re.M):
            return f"{found[1]} {what.format(python=python, line=found[0])} ({remedy})"
    last = [line for line in said.splitlines() if line.strip()][-1:] or ["pip said nothing"]
    return f"{last[0].removeprefix('ERROR: ')} (pip.log has the rest)"


def pip(*arguments: str, log: Path) -> str | None:
    """Run pip; None, or what it said where it failed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--log", str(log), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stdout + done.stderr


def main(lock: Path) -> int:
    """Install; 0, or 3 after one line on standard error."""
    log = Path(sys.prefix) / "pip.log"
    steps = (
        ("install", "--quiet", "--require-hashes", "--no-deps", "--requirement", str(lock)),
        ("install", "--quiet", "--constraint", str(TORCH), "torch"),
        # The build back end is in the lock too.
        ("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(HERE.parent)),
        ("check",),
    )
    for step in steps:
        if (said := pip(*step, log=log)) is not None:
            print(f"error: {lock} cannot be met: {explain(said)}; pip's own words: {log}", file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
