"""Whatever tells a reader or pip to install Holdfast names the distribution, which is `holdfast-align`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.core.extras import DISTRIBUTION, EXTRAS

ROOT = Path(__file__).parent.parent
KNOWN = {*EXTRAS, "all", "dev"}
#: Not of the project: environments, caches, and what runs write.
_APART = re.compile(r"^(\..*cache|\.git|\.venv.*|__pycache__|build|dist|results|logs|.*\.egg-info)$")
_TEXTS = {".md", ".py", ".toml", ".txt", ".yml", ".yaml", ".sh", ".cfg", ".html", ".jinja", ".json", ""}
_EXTRAS = r"\[([\w\s,.-]*)\\?\]"
#: a word that installs, up to the end of the command
_INSTALLS = re.compile(r"\b(?:pip3?|uv|uvx|pipx|poetry|conda)\b[^\n`|]*")
#: Holdfast by a name that the index gives to another project
_STRANGER = re.compile(rf"(?<![\w./-])holdfast(?:\\?{_EXTRAS}|\s*(?:==|>=|<=|~=|@)|(?=['\"`)\s]|$))")
_REQUIREMENT = re.compile(rf"(?<![\w./-])holdfast(?:\\?{_EXTRAS}|==|>=|~=)")
_METADATA = re.compile(r"\b(?:version|requires|metadata|distribution|files|entry_points)\(\s*['\"]holdfast['\"]")
_OWN = re.compile(rf"(?:{DISTRIBUTION}|(?<![\w.])\.)\\?{_EXTRAS}")


def faults(text: str) -> Iterator[str]:
    """What would install, or look up, a distribution or an extra that is not ours."""
    for number, line in enumerate(text.splitlines(), 1):
        commands = [m[0] for m in _INSTALLS.finditer(line) if re.search(r"\b(install|add|run|uvx)\b", m[0])]
        found = [m[0] for command in commands for m in _STRANGER.finditer(command)]
        found += [m[0] for pattern in (_REQUIREMENT, _METADATA) for m in pattern.finditer(line)]
        wrong = [m[0] for m in _OWN.finditer(line) if not {e.strip() for e in m[1].rstrip("\\").split(",")} <= KNOWN]
        for name in [*found, *(wrong if commands or DISTRIBUTION in line else [])]:
            yield f"line {number}: {name}"


def texts(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not _APART.match(path.name):
            yield from texts(path)
        elif path.is_file() and path.suffix in _TEXTS:
            yield path


def test_every_install_line_names_our_distribution_and_an_extra_that_it_has() -> None:
    files = [path for path in texts(ROOT) if path != Path(__file__)]
    assert {"README.md", "Makefile", "extras.py", "guard-relay.md", "run"} <= {path.name for path in files}
    found = {str(p.relative_to(ROOT)): list(faults(p.read_text(encoding="utf-8", errors="replace"))) for p in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "pip install holdfast",
        "pip install 'holdfast[guard]'",
        'python -m pip install --upgrade "holdfast[guard,teach]"',
        "uv add holdfast",
        "uv pip install holdfast==0.5.1",
        "uvx --from holdfast holdfast guard",
        "needs holdfast[measure] to run",
        "remedy=\"pip install 'holdfast[trl]'\"",
        'match=r"holdfast\\[cluster\\]"',
        "pip install 'holdfast-align[inspect]'",
        "pip install 'holdfast-align[guard,trl]'",
        "pip install '.[quant]'",
        'version("holdfast")',
        "holdfast>=0.1",
    ],
)
def test_an_install_line_of_another_spelling_is_found(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(
    "line",
    [
        "pip install 'holdfast-align[guard]'",
        "pip install '.[local]' and then",
        "uv pip install holdfast-align",
        'version("holdfast-align")',
        "holdfast guard run --policy files.yaml",
        "pip install holdfast_align-0.1.0-py3-none-any.whl",
        "cd src/holdfast",
    ],
)
def test_other_lines_are_left_alone(line: str) -> None:
    assert list(faults(line)) == []
