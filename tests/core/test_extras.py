"""The extras: the table of modules says what pyproject.toml says, and whatever is missing is named with its extra."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import PrerequisiteError
from holdfast.core.extras import DISTRIBUTION, EXTRAS, INCLUDED, install, missing, needs, require

PACKAGE = Path(holdfast.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent.parent / "pyproject.toml").read_text())["project"]
#: distribution → module, where they differ by more than a hyphen
NAMES = {"pyyaml": "yaml"}
#: modules that come with another one of the same authors
TOGETHER = {"markupsafe": "jinja2"}


def module(requirement: str) -> str:
    name = re.split(r"[><=~\[; ]", requirement)[0].lower()
    return NAMES.get(name, name.replace("-", "_"))


def brought(extra: str) -> set[str]:
    own = [r for r in PROJECT["optional-dependencies"][extra] if not r.startswith(DISTRIBUTION)]
    return {module(requirement) for requirement in own}


def included(extra: str) -> list[str]:
    return [
        name
        for requirement in PROJECT["optional-dependencies"][extra]
        if requirement.startswith(DISTRIBUTION)
        for name in requirement.partition("[")[2].rstrip("]").split(",")
    ]


def test_the_table_is_that_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert {extra: set(modules) for extra, modules in EXTRAS.items()} == {extra: brought(extra) for extra in EXTRAS}
    assert {extra: list(INCLUDED.get(extra, ())) for extra in EXTRAS} == {extra: included(extra) for extra in EXTRAS}
    assert set(included("all")) == set(EXTRAS)
    assert brought("all") == set()
    assert set(PROJECT["optional-dependencies"]) == {*EXTRAS, "all", "dev"}


def test_the_base_is_light() -> None:
    assert {module(r) for r in PROJECT["dependencies"]} == {"click", "jinja2", "pydantic", "yaml", "rich"}


def foreign(text: str) -> Iterator[str]:
    """Modules that are neither Python's nor ours, imported anywhere in a source."""
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in (name.partition(".")[0] for name in names):
            if name and name != "holdfast" and name not in sys.stdlib_module_names:
                yield TOGETHER.get(name, name)


#: Libraries that no extra brings: `Results.to_pandas` and `to_polars` ask for them by name.
OPTIONAL = {"pandas", "polars"}


def unknown(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Imports of what neither the base nor an extra brings."""
    known = OPTIONAL | {m for held in EXTRAS.values() for m in held} | {module(r) for r in PROJECT["dependencies"]}
    return sorted({(path, name) for path, text in texts.items() for name in foreign(text) if name not in known})


def test_every_import_belongs_to_the_base_or_to_an_extra() -> None:
    assert unknown({p.relative_to(PACKAGE).as_posix(): p.read_text() for p in PACKAGE.rglob("*.py")}) == []
    planted = {"a.py": "import json, flask.app", "b.py": "def f():\n    importlib.import_module('attr.x')"}
    assert unknown(planted) == [("a.py", "flask"), ("b.py", "attr")]


@pytest.mark.parametrize(
    ("name", "asked", "extra"),
    [
        ("cedarpy", "", "guard"),
        ("numpy", "", "measure"),
        ("numpy.typing", "local", "local"),
        ("numpy", "train", "train"),
        ("scipy", "teach", "teach"),
        ("torch", "measure", "local"),
        ("torch", "train", "train"),
        ("inspect_ai", "guard", "measure"),
        ("ray", "study", "cluster"),
    ],
)
def test_what_is_missing_is_named_with_the_extra_that_was_asked_for_or_else_one_that_brings_it(
    name: str, asked: str, extra: str
) -> None:
    error = missing(name, asked)
    assert error.what == f"{name.partition('.')[0]} is not installed"
    assert error.remedy == install(extra) == f"pip install 'holdfast-align[{extra}]'"
    assert error.exit_code == 3


def test_a_package_of_no_extra_is_named_by_itself() -> None:
    assert str(missing("flask.app", "guard", where="x.py:1")) == "x.py:1: flask is not installed (pip install flask)"


def test_imports_under_needs_name_the_extra_and_a_fault_of_ours_comes_through() -> None:
    with pytest.raises(PrerequisiteError, match=r"^no_such_module is not installed"), needs("teach"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ModuleNotFoundError), needs("teach"):
        import holdfast.no_such_room  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(PrerequisiteError, match=r"pip install no_such_module"):
        require("teach", "json", "no_such_module")
    require("teach", "json")
