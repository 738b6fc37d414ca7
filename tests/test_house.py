"""The manners of the house, measured; each measure is shown to catch a planted fault."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "holdfast"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Names that reach outside the program; reading is for functions, not for imports.
READS = {"open", "getenv", "read_text", "read_bytes", "urlopen", "exists", "is_file", "iterdir", "glob", "rglob", "run"}


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def long_file(text: str, limit: int = 500) -> list[str]:
    lines = text.count("\n")
    return [f"{lines} lines"] if lines > limit else []


def long_functions(text: str) -> list[str]:
    sizes = [(f.name, (f.end_lineno or f.lineno) - f.lineno + 1) for f in functions(ast.parse(text))]
    return [f"{name}: {lines} lines" for name, lines in sizes if lines > 60]


def many_parameters(text: str) -> list[str]:
    found = []
    for function in functions(ast.parse(text)):
        given = function.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")]
        names += [a.arg for a in (given.vararg, given.kwarg) if a]
        if len(names) > 7:
            found.append(f"{function.name}: {len(names)} parameters")
    return found


def inner_imports(text: str) -> list[str]:
    found = []
    for function in functions(ast.parse(text)):
        for node in ast.walk(function):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{function.name}: {name}" for name in names if name.split(".")[0] == "holdfast"]
    return found


def undocumented(text: str) -> list[str]:
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) else ["module"]
    for node in tree.body:
        if isinstance(node, (*Function.__args__, ast.ClassDef)) and not node.name.startswith("_"):
            found += [] if ast.get_docstring(node) else [node.name]
            members = node.body if isinstance(node, ast.ClassDef) else []
            public = [m for m in members if isinstance(m, Function) and not m.name.startswith("_")]
            found += [f"{node.name}.{m.name}" for m in public if not ast.get_docstring(m)]
    return found


def eager_reads(text: str) -> list[str]:
    """Reads of environment, files or network that happen when the module is imported."""
    found = []
    todo: list[ast.AST] = [ast.parse(text)]
    while todo:
        node = todo.pop()
        if isinstance(node, (*Function.__args__, ast.Lambda)):
            continue
        # `if __name__ == "__main__":` runs on command, not on import.
        if isinstance(node, ast.If) and "__name__" in ast.dump(node.test):
            continue
        name = getattr(node, "attr", getattr(node, "id", ""))
        called = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in READS
        if called or name in ("environ", "environb"):
            found.append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)[:60]}")
        todo += ast.iter_child_nodes(node)
    return found


def private_inspect(text: str) -> list[str]:
    """Imports from inside Inspect: public names only."""
    modules = [node.module or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    names = [a.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for a in node.names]
    return [name for name in modules + names if name.startswith("inspect_ai") and "._" in name]


def deep_classes(texts: list[str]) -> list[str]:
    """Classes with more than two ancestors of our own."""
    bases: dict[str, list[str]] = {}
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [b.attr if isinstance(b, ast.Attribute) else ast.unparse(b) for b in node.bases]

    def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
        ours = [b for b in bases.get(name, []) if b in bases and b not in seen | {name}]
        return 1 + max(depth(b, seen | {name}) for b in ours) if ours else 0

    return [f"{name}: {depth(name)} ancestors" for name in bases if depth(name) > 2]


def mocks(text: str) -> list[str]:
    """Mocking libraries and tests that open every socket."""
    tree = ast.parse(text)
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    found = [name for name in names if name.startswith(("unittest.mock", "mock", "pytest_mock"))]
    return found + [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "enable_socket"]


def shared_names(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Public functions and classes defined at the top of more than one module, with the modules."""
    where: dict[str, list[str]] = {}
    for module, text in texts.items():
        for node in ast.parse(text).body:
            # Each verb of the command line is a function called `command`.
            if isinstance(node, (*Function.__args__, ast.ClassDef)) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(module)
    return {name: modules for name, modules in where.items() if len(modules) > 1 and name != "command"}


Measure = Callable[[str], list[str]]
MEASURES: dict[str, tuple[Measure, str]] = {
    "file length": (long_file, "x = 1\n" * 501),
    "function length": (long_functions, "def f():\n" + "    x = 1\n" * 60),
    "parameters": (many_parameters, "def f(a, b, c, d, *e, g, h, **i): ..."),
    "inner imports": (inner_imports, "def f():\n    if True:\n        from holdfast.core import errors"),
    "docstrings": (undocumented, '"""Module."""\nclass A:\n    """A."""\n    def public(self): ...'),
    "eager reads": (eager_reads, "from pathlib import Path\nclass A:\n    X = Path('a').read_text()"),
    "eager environment": (eager_reads, "import os\nX = os.environ.get('HOME')"),
    "private Inspect": (private_inspect, "from inspect_ai._util.error import PrerequisiteError"),
}


#: Public names that more than one module may define: the API's own, and records that report reads and study writes.
MOST_SHARED = 40


def allowed(name: str, path: Path) -> bool:
    # The two front doors load a room when it is asked for.
    return name == "inner imports" and (path.is_relative_to(PACKAGE / "cli") or path.is_relative_to(PACKAGE / "api"))


@pytest.mark.parametrize("name", MEASURES)
def test_sources_keep_the_manners(name: str) -> None:
    measure, _ = MEASURES[name]
    faults = {str(p.relative_to(ROOT)): measure(p.read_text()) for p in SOURCES if not allowed(name, p)}
    assert {path: found for path, found in faults.items() if found} == {}


@pytest.mark.parametrize("name", MEASURES)
def test_measure_catches_a_planted_fault(name: str) -> None:
    measure, planted = MEASURES[name]
    assert measure(planted)
    assert not measure('"""Module."""\n\nX = 1\n')


def test_inheritance_is_shallow() -> None:
    assert deep_classes([p.read_text() for p in SOURCES]) == []
    assert deep_classes(["class A: ...\nclass B(A): ...\nclass C(B): ...", "class D(C): ..."]) == ["D: 3 ancestors"]


def test_a_public_name_stands_for_one_thing() -> None:
    shared = shared_names({str(p.relative_to(ROOT)): p.read_text() for p in SOURCES})
    assert len(shared) <= MOST_SHARED, "\n".join(f"{name}: {', '.join(where)}" for name, where in shared.items())
    planted = {"a.py": "class Rate: ...\ndef _private(): ...", "b.py": "def Rate(): ...\ndef _private(): ..."}
    assert shared_names(planted) == {"Rate": ["a.py", "b.py"]}


def test_tests_keep_their_manners() -> None:
    long = {p.name: long_file(p.read_text(), limit=600) for p in TESTS}
    assert {name: found for name, found in long.items() if found} == {}
    assert {p.name: mocks(p.read_text()) for p in TESTS if mocks(p.read_text())} == {}
    assert mocks("from unittest.mock import patch\n@pytest.mark.enable_socket\ndef test(): ...")
    assert long_file("\n" * 601, limit=600)


LOADED = """
import sys
{imports}
print(" ".join(sorted({{name.split(".")[0] for name in sys.modules}} & set({heavy!r}))))
"""


def loaded(imports: str, *heavy: str) -> list[str]:
    """Which of `heavy` are in memory after `imports`, in a fresh interpreter."""
    code = LOADED.format(imports=imports, heavy=heavy)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_package_is_light() -> None:
    heavy = ("torch", "transformers", "inspect_ai", "numpy", "scipy", "trl")
    assert loaded("import holdfast, holdfast.cli.main", *heavy) == []
    assert loaded("import holdfast, numpy", *heavy) == ["numpy"]


def test_guard_and_report_need_neither_torch_nor_inspect() -> None:
    files = [
        p
        for room in ("detectors", "guard", "report", "core", "stats")
        for p in (PACKAGE / room).rglob("*.py")
        if "adapters" not in p.parts
    ]
    names = [".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts) for p in files]
    assert names
    assert loaded("import " + ", ".join(names), "torch", "transformers", "inspect_ai") == []


WATCH = """
import importlib, sys
package, modules = sys.argv[1], sys.argv[2:]
def watch(event, args):
    if event == "open" and str(args[0]).startswith(package) and not str(args[0]).endswith((".py", ".pyc")):
        opened.add(str(args[0])[len(package):])
    if event == "socket.connect":
        opened.add(f"socket {args[1]}")
opened = set()
sys.addaudithook(watch)
for name in modules:
    importlib.import_module(name)
print("\\n".join(sorted(o for o in opened if ".pyc." not in o)))
"""


def opened_on_import(package: Path) -> list[str]:
    """Files of `package` that are not Python, and sockets, that open while all its modules are imported."""
    files = [p for p in package.rglob("*.py") if p.name != "__main__.py"]
    names = [".".join(p.relative_to(package.parent).with_suffix("").parts) for p in sorted(files)]
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WATCH, str(package), *names]
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_importing_reads_no_file(tmp_path: Path) -> None:
    assert opened_on_import(PACKAGE) == []
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "words.md").write_text("words")
    (planted / "__init__.py").write_text(
        "import pathlib\nX = (pathlib.Path(__file__).parent / 'words.md').open().read()"
    )
    assert opened_on_import(planted) == ["/words.md"]


#: contract → a file and the line that breaks it
BREACHES = {
    "rooms are layers": ("scenarios/breach.py", "import holdfast.evals"),
    "data and train never see": ("train/breach.py", "import holdfast.scenarios"),
    "evals never see": ("evals/breach.py", "import holdfast.data"),
    "guard imports core and detectors alone": ("guard/breach.py", "import holdfast.models.base"),
    "report reads files": ("report/breach.py", "import holdfast.evals"),
    "organism is reached by name": ("study/breach.py", "import holdfast.organism"),
    "torch and its kin": ("scenarios/breach.py", "from torch import nn"),
    "inspect_ai stays": ("data/breach.py", "from inspect_ai.model import Model"),
    "mcp stays": ("guard/breach.py", "import mcp"),
    "ray stays": ("study/breach.py", "import ray"),
}


def contracts(source: Path) -> dict[str, str]:
    """What lint-imports says of each contract for the package under `source`."""
    command = [
        str(Path(sys.executable).parent / "lint-imports"),
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    env = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}
    shown = subprocess.run(command, capture_output=True, text=True, env=env, cwd=source).stdout
    return dict(re.findall(r"^(.*?) (KEPT|BROKEN)(?: \(.*\))?$", shown, flags=re.M))


def test_each_wall_is_seen_to_fall(tmp_path: Path) -> None:
    kept = contracts(PACKAGE.parent)
    assert set(kept.values()) == {"KEPT"}
    assert len(kept) == len(BREACHES)
    for contract, (file, line) in BREACHES.items():
        source = tmp_path / contract.replace(" ", "-")
        shutil.copytree(PACKAGE, source / "holdfast", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
        (source / "holdfast" / file).write_text(line + "\n")
        found = contracts(source)
        assert [name for name in found if name.startswith(contract) and found[name] == "BROKEN"], contract


def test_an_undeclared_room_is_refused(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "holdfast", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    (tmp_path / "holdfast" / "attic").mkdir()
    (tmp_path / "holdfast" / "attic" / "__init__.py").write_text("")
    assert set(contracts(tmp_path).values()) != {"KEPT"}


@pytest.mark.slow
def test_the_wheel_holds_what_the_package_reads(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = {".py", ".md", ".toml", ".jinja", ".css", ".safetensors", ".json", ".typed"}
    wanted = {f"holdfast/{p.relative_to(PACKAGE).as_posix()}" for p in PACKAGE.rglob("*") if p.suffix in kinds}
    wanted |= {f"holdfast/studies/{p.name}" for p in (ROOT / "studies").glob("*.toml")}
    assert {name for name in wanted - held if "__pycache__" not in name} == set()
    assert any(name.endswith("teach-why.toml") for name in held)
