"""The lock holds all that the project asks for, and where it cannot be met, the message says why and what to do."""

import base64
import hashlib
import importlib.util
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.wheel import Installed

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_PIN = re.compile(
    r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)(?: ; ([^\\\n]+?))?( \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+|\n)"
)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LOCK / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def pins(text: str) -> dict[str, list[tuple[str, bool]]]:
    """Package → its versions, and whether each has hashes; every other line must be a comment."""
    found: dict[str, list[tuple[str, bool]]] = {}
    rest = text
    while rest:
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        match = _PIN.match(rest)
        assert match, f"not a pinned package: {rest.splitlines()[0]}"
        found.setdefault(match[1], []).append((match[2], "--hash" in match[4]))
        rest = rest[match.end() :]
    return found


def asked(extra: str) -> Iterator[Requirement]:
    """What the project asks for with an extra, the extras in it included."""
    for text in [*PROJECT["project"]["optional-dependencies"][extra]]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["project"]["name"]:
            for name in requirement.extras:
                yield from asked(name)
        else:
            yield requirement


def unmet(extra: str, held: dict[str, list[tuple[str, bool]]]) -> list[str]:
    base = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    build = [Requirement(text) for text in PROJECT["dependency-groups"]["build"]]
    found = []
    for requirement in [*base, *build, *asked(extra)]:
        versions = [version for version, _ in held.get(canonicalize_name(requirement.name), [])]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement}: {versions}")
    return found


@pytest.mark.parametrize(("name", "extra"), [("test", "dev"), ("demo", "local")])
def test_the_lock_holds_all_that_is_asked_for_by_version_and_hash(name: str, extra: str) -> None:
    text, torch = (LOCK / f"{name}.txt").read_text(), pins((LOCK / "torch.txt").read_text())
    held = pins(text)
    assert all(hashed for versions in held.values() for _, hashed in versions)
    assert unmet(extra, held | torch) == []
    assert set(unmet(extra, {n: v for n, v in (held | torch).items() if n != "numpy"})) == {"numpy>=2: []"}
    assert "torch" in torch and not any(hashed for versions in torch.values() for _, hashed in versions)
    assert not held.keys() & torch.keys()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_the_demo_runs_on_a_part_of_what_the_tests_run_on() -> None:
    demo, test = (pins((LOCK / f"{name}.txt").read_text()) for name in ("demo", "test"))
    assert {name: versions for name, versions in demo.items() if test.get(name) != versions} == {}


def test_a_lock_with_an_address_or_a_range_is_found() -> None:
    for line in ("--index-url https://example.org\n", "numpy>=2\n", "numpy @ file:///tmp/numpy.whl\n"):
        with pytest.raises(AssertionError, match="not a pinned package"):
            pins(line)


def make_wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """A wheel of nothing, made by hand, so that pip has something to take without any index."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {n: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b"=") for n, t in files.items()}
    record = "".join(f"{n},sha256={s.decode()},{len(files[n])}\n" for n, s in sums.items()) + f"{info}/RECORD,,\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(inside, text)
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("locked") / "venv"
    venv.create(folder, with_pip=True)
    return Installed(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "hollow==9 --hash=sha256:{hash}",
            r"hollow==9 is not offered for Python 3\.\d+ on \w+ \(check the network and ",
        ),
        ("hollow==1.0 --hash=sha256:{zeros}", r"hollow==1\.0 was offered as a file that the lock does not know"),
        ("hollow==1.0", r"hollow==1\.0 has no hash in the lock"),
        ("leaning==1.0 --hash=sha256:{leaning}", r"leaning 1\.0 needs what .* not hold \(leaning 1\.0 requires hollow"),
    ],
    ids=["absent", "changed", "unhashed", "incomplete"],
)
def test_a_lock_that_cannot_be_met_names_the_package_and_the_remedy(
    line: str, said: str, empty: Installed, tmp_path: Path
) -> None:
    hashes = {
        name: hashlib.sha256(make_wheel(tmp_path, name, "1.0", needs).read_bytes()).hexdigest()
        for name, needs in (("hollow", ""), ("leaning", "hollow"), ("torch", ""))
    }
    text = line.format(hash=hashes["hollow"], leaning=hashes["leaning"], zeros="0" * 64)
    home = tmp_path / "checkout"
    (home / "lock").mkdir(parents=True)
    (home / "lock" / "install.py").write_text((LOCK / "install.py").read_text())
    (home / "lock" / "demo.txt").write_text(text + "\n")
    (home / "lock" / "torch.txt").write_text("torch==1.0\n")
    # A project that asks its back end for nothing, so that only the lock can fail.
    (home / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n'
    )
    (home / "back.py").write_text(BACK)
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    done = empty.run("python", "lock/install.py", "lock/demo.txt", cwd=home, **settings)
    assert done.returncode == 3
    [told] = done.stderr.splitlines()
    assert re.search(f"^error: lock/demo.txt cannot be met: {said}.*`make lock`", told), told
    assert (empty.folder / "pip.log").is_file()


BACK = """
import shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    made = "leaning_on_nothing-1.0-py3-none-any.whl"
    import zipfile
    info = "leaning_on_nothing-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{made}", "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: leaning-on-nothing\\nVersion: 1.0\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return made
"""


def test_what_pip_says_of_builds_and_disks_is_told_plainly() -> None:
    explain = script("install").explain
    built = "ERROR: Failed building wheel for cbor2\nERROR: Could not build wheels for cbor2"
    assert explain(built).startswith("cbor2 has no ready-made build for Python")
    failed = "error: subprocess-exited-with-error\nERROR: Failed to build 'cbor2' when getting requirements"
    assert explain(failed).startswith("cbor2 has no ready-made build for Python")
    assert "make room on the disk" in explain("ERROR: Could not install: [Errno 28] No space left on device")
    assert explain("ERROR: odd\n") == "odd (pip.log has the rest)"
    assert explain("") == "pip said nothing (pip.log has the rest)"


def test_names_are_read_off_a_lock_with_and_without_hashes() -> None:
    text = "# torch==1\nnumpy==2.4.6 ; python_version < '3.12' \\\n    --hash=sha256:00\nray==2.60.0\n"
    assert script("renew").names(text) == {"numpy", "ray"}


def test_make_lock_and_the_lock_agree_on_torch() -> None:
    [pinned] = re.findall(r"^TORCH \?= (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert pinned in (LOCK / "torch.txt").read_text().splitlines()
    assert subprocess.run([sys.executable, str(LOCK / "renew.py")], capture_output=True).returncode != 0
