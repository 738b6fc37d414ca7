"""Plugins found by entry point: nothing is imported early, and a broken one is one line that names its distribution."""

import sys
from pathlib import Path

import pytest

from holdfast.core.errors import ConfigError, InputError
from holdfast.core.plugins import plugins
from holdfast.data.recipes import load_recipe
from holdfast.detectors import BUILT_IN, DETECTORS, find_detector
from holdfast.models.registry import open_model
from holdfast.scenarios.world import FOLDER, load_world


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Puts a distribution with entry points and modules on the path, as `pip install --target` would."""

    def put(name: str, points: str, **modules: str) -> Path:
        site = tmp_path / name
        info = site / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(points)
        for module, text in modules.items():
            path = site / f"{module.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            monkeypatch.delitem(sys.modules, module.replace("__", "."), raising=False)
        monkeypatch.syspath_prepend(str(site))
        return site

    yield put
    for detector in DETECTORS.keys() - BUILT_IN.keys():
        del DETECTORS[detector]


MODEL = """
class Model:
    name, identity = "echo/x", "1"
    def generate(self, requests): return []
def open_named(rest): return Model()
"""


def fails(*call: object) -> InputError:
    with pytest.raises(InputError) as caught:
        call[0](*call[1:])  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_model_is_imported_when_its_name_is_used(install) -> None:  # type: ignore[no-untyped-def]
    install("echo-dist", "[holdfast.models]\necho = echo_a\n", echo_a=MODEL)
    assert [(p.name, p.distribution) for p in plugins("models")] == [("echo", "echo-dist")]
    assert "echo_a" not in sys.modules
    assert "did you mean 'echo/…'?" in fails(open_model, "ecco/x").remedy
    assert "echo_a" not in sys.modules
    assert open_model("echo/x").identity == "1"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("raise ValueError('no\\nluck')", "cannot import 'echo_b': ValueError: no luck"),
        ("import no_such_thing", "cannot import 'echo_b': ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = 1", "'echo_b' has no function 'open_named'"),
        ("def open_named(rest): raise KeyError(rest)", "open_named('x') failed: KeyError: 'x'"),
        ("def open_named(rest): return None", "open_named('x') returned a NoneType without 'name'"),
    ],
)
def test_a_broken_model_names_its_distribution(install, source: str, what: str) -> None:  # type: ignore[no-untyped-def]
    install("echo-dist", "[holdfast.models]\necho = echo_b\n", echo_b=source)
    error = fails(open_model, "echo/x")
    assert error.what == f"plugin 'echo' of echo-dist 1.2 (entry point holdfast.models): {what}"
    assert error.remedy == "mend it, or `pip uninstall echo-dist`"


def test_a_taken_name_is_refused(install) -> None:  # type: ignore[no-untyped-def]
    install("one-dist", "[holdfast.models]\nscripted = echo_c\ntwice = echo_c\n", echo_c=MODEL)
    assert "one-dist 1.2" in fails(open_model, "scripted/proper").what
    install("two-dist", "[holdfast.models]\ntwice = echo_c\n")
    assert fails(open_model, "twice/x").what.endswith("the name is also added by one-dist")


DETECTOR = """
from holdfast.detectors.base import Detection, detector
@detector
def flattery(effects, facts, about):
    return [Detection(i, "q", "flatters") for i, e in enumerate(effects) if "brilliant" in e.fields.get("text", "")]
"""


def test_a_detector_is_registered_when_its_name_is_used(install) -> None:  # type: ignore[no-untyped-def]
    install("flat-dist", "[holdfast.detectors]\nflattery = flat_a\nleak = flat_a\nnone = flat_a\n", flat_a=DETECTOR)
    assert "flattery" not in DETECTORS
    assert find_detector("flattery") is DETECTORS["flattery"]
    assert "flattery" not in BUILT_IN
    assert "the name is built into Holdfast" in fails(find_detector, "leak").what
    assert fails(find_detector, "none").what.endswith("'flat_a' does not register a detector 'none'")


def test_a_detector_does_not_replace_a_built_in_one(install) -> None:  # type: ignore[no-untyped-def]
    built_in = DETECTORS["leak"]
    install("bad-dist", "[holdfast.detectors]\nother = flat_b\n", flat_b=DETECTOR.replace("flattery", "leak"))
    assert "is already defined in holdfast.detectors.leak" in fails(find_detector, "other").what
    assert DETECTORS["leak"] is built_in
    with pytest.raises(ConfigError, match="no detector called 'othre'"):
        find_detector("othre")


def test_worlds_and_recipes_are_found_without_an_import(install) -> None:  # type: ignore[no-untyped-def]
    points = "[holdfast.worlds]\nx = pack.worlds\n[holdfast.recipes]\nx = pack.recipes\n"
    site = install("pack-dist", points, pack____init__="raise RuntimeError('imported')")
    world, recipe = site / "pack" / "worlds" / "harbour", site / "pack" / "recipes" / "memos"
    world.mkdir(parents=True)
    recipe.mkdir(parents=True)
    text = (FOLDER / "pocket-blackmail" / "world.toml").read_text()
    (world / "world.toml").write_text(f'split = "dev"\n{text}')
    (recipe / "recipe.toml").write_text(
        'title = "t"\nabout = "a"\nform = "document"\nstages = ["stories"]\ncharter = "own"\n'
    )
    assert load_world("harbour").split == "dev"
    assert load_recipe("memos").name == "memos"
    assert "pack" not in sys.modules
    (site / "pack" / "worlds" / "blackmail").mkdir()
    (site / "pack" / "worlds" / "blackmail" / "world.toml").write_text(text)
    assert fails(load_world, "blackmail").what.endswith("'blackmail' is the name of a built-in one")


def test_a_plugin_without_its_folder_names_its_distribution(install) -> None:  # type: ignore[no-untyped-def]
    install("gone-dist", "[holdfast.recipes]\nx = nowhere.recipes\n")
    assert "gone-dist 1.2" in fails(load_recipe, "stories").what
