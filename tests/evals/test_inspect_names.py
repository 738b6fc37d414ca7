"""What is ours is found in Inspect's registry as `holdfast/…`, whichever way Holdfast was installed."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from holdfast.core import inspect_names
from holdfast.core.inspect_names import inspect_name


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, editable: bool) -> None:
    """Put a distribution of this name on the path, and no other."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": editable}}))
    monkeypatch.setattr(inspect_names, "distribution", lambda asked: found(folder, asked))


def found(folder: Path, name: str) -> metadata.Distribution:
    made = next(iter(metadata.distributions(name=name, path=[str(folder)])), None)
    if made is None:
        raise metadata.PackageNotFoundError(name)
    return made


@pytest.mark.parametrize(
    ("place", "distribution", "editable", "name"),
    [
        ("src/holdfast/core/x.py", "holdfast-align", True, "holdfast/insider"),
        ("src/holdfast/core/x.py", "holdfast", True, "insider"),
        ("src/holdfast/core/x.py", "holdfast", False, "holdfast/insider"),
        ("lib/python3.12/site-packages/holdfast/core/x.py", "holdfast-align", False, "insider"),
    ],
)
def test_the_package_is_named_where_inspect_does_not_name_it(
    place: str, distribution: str, editable: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, distribution, editable)
    monkeypatch.setattr(inspect_names, "__file__", str(tmp_path / place))
    assert inspect_name("insider") == name
