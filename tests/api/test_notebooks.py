"""The notebooks in examples/ run from the first cell to the last, and their outputs can be shown."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

Captured = pytest.CaptureFixture[str]
NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


def run_notebook(path: Path) -> list[Any]:
    """Run the code cells in order; returns the value of each cell that ends in an expression."""
    names: dict[str, Any] = {}
    shown = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}:{number}", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"{path.name}:{number}", "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
    return shown


def test_the_researchers_first_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = "\n".join(run_notebook(NOTEBOOKS / "researcher.ipynb"))
    assert "100%" in shown
    assert "verified" in shown
    assert "hf/results/taught" in shown
    assert (tmp_path / "results/notebook/report.html").is_file()
    assert "paired" in capsys.readouterr().out


def test_the_deployers_first_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run_notebook(NOTEBOOKS / "deployer.ipynb")
    assert "'the note monday'" in shown
    assert "[]" in shown, "the held mail was sent"
    assert "approval" in capsys.readouterr().out
