"""Write the lock anew: the newest versions that fit pyproject.toml, for Python 3.11 and later on Linux and macOS.

    .venv-lock/bin/python lock/renew.py torch==2.13.0

`test.txt` holds what the tests need, `demo.txt` the part of it that the demo needs, each package with its hashes.
`torch.txt` holds torch and what only torch needs, by version alone (see install.py).  No index's address is written.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: A requirement for no machine at all: in place of torch, it takes away torch and what only torch needs.
_NOWHERE = "torch ; python_version < '3'\n"


def compiled(extra: str, *more: str | Path) -> str:
    """What uv resolves for an extra and the build back end, as requirements with markers."""
    command = ["-m", "uv", "pip", "compile", "pyproject.toml", "--group", "build", "--extra", extra, "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    done = subprocess.run(
        [sys.executable, *command, *map(str, more)], cwd=HERE.parent, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"error: uv found no versions that fit pyproject.toml (its reason is above): exit {done.returncode}")
    return done.stdout


def names(requirements: str) -> set[str]:
    """The packages that a file of requirements pins."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", requirements, flags=re.M))


def main(torch: str) -> None:
    """Resolve everything with torch, then without it under the same versions; the difference is torch's own."""
    with tempfile.TemporaryDirectory() as scratch:
        pin, nowhere, whole = (Path(scratch) / name for name in ("pin.txt", "nowhere.txt", "whole.txt"))
        pin.write_text(torch + "\n")
        nowhere.write_text(_NOWHERE)
        whole.write_text(compiled("dev", "--constraint", pin))
        same = ("--override", nowhere, "--constraint", whole, "--generate-hashes")
        test, demo = compiled("dev", *same), compiled("local", *same)
        own = [line for line in whole.read_text().splitlines() if names(line) - names(test)]
    note = "# Written by `make lock`; {}.\n"
    (HERE / "test.txt").write_text(note.format("what the tests need, torch apart") + test)
    (HERE / "demo.txt").write_text(note.format("what the demo needs, torch apart") + demo)
    (HERE / "torch.txt").write_text(note.format("torch and what only torch needs") + "\n".join(own) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
