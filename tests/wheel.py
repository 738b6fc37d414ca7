"""The wheel, and environments that it is installed in as a user would; the fixtures are in conftest.py."""

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What the tests' own process must not hand on: with it, a child would import the checkout.
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

#: What `venv` puts into an environment.
_EMPTY = re.compile(r"(?:pip|setuptools|pkg_resources|_distutils_hack|distutils-precedence)\b")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def site(self) -> Path:
        return self.folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of a shell in which this environment is activated."""
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        return kept | {"PATH": f"{self.bin}{os.pathsep}{kept['PATH']}", "VIRTUAL_ENV": str(self.folder)}

    def run(self, *command: str, cwd: Path, timeout: float = 600, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment, such as `holdfast` or `python`."""
        whole = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(whole, cwd=cwd, env=self.environ | env, capture_output=True, text=True, timeout=timeout)

    def size(self) -> int:
        """Bytes on disk of what is installed, apart from what an empty environment comes with."""
        own = [p for p in self.site.iterdir() if not _EMPTY.match(p.name)]
        files = [f for p in own for f in ([p] if p.is_file() else p.rglob("*"))]
        return sum(f.lstat().st_blocks * 512 for f in files if not f.is_dir())

    def holds(self, module: str) -> bool:
        """Whether a module can be imported."""
        asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        return self.run("python", "-c", asked, cwd=self.folder).returncode == 0


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout, with the build back end that is installed."""
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder)], check=True, capture_output=True, text=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def install_alone(folder: Path, wheel: Path, extra: str = "") -> Installed:
    """Install the wheel with an extra into an empty environment, in the versions of the lock.  Takes up to minutes."""
    venv.create(folder, with_pip=True)
    made = Installed(folder)
    versions = folder / "versions.txt"
    versions.write_text(locked_versions())
    asked = f"{wheel}[{extra}]" if extra else str(wheel)
    done = made.run("python", "-m", "pip", "install", "--quiet", "--constraint", str(versions), asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    return made


def install_beside(folder: Path, wheel: Path) -> Installed:
    """Install the wheel into an environment that borrows all other packages from the tests' own.  Takes seconds."""
    venv.create(folder, with_pip=False)
    made = Installed(folder)
    # A folder named in a .pth file comes after this environment's own, and its own .pth files are not read: the
    # checkout, which one of those puts on the path, stays out of sight.
    [own] = [path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix)]
    (made.site / "borrowed.pth").write_text(own + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(made.bin / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--ignore-installed", str(wheel)], check=True, capture_output=True, text=True)
    return made


def locked_versions() -> str:
    """The versions of the lock without their hashes, for pip's `--constraint`."""
    files = [(ROOT / "lock" / name).read_text() for name in ("test.txt", "torch.txt")]
    return "".join(f"{line}\n" for text in files for line in re.findall(r"^[a-z0-9][^\\\n]*", text, flags=re.M))
