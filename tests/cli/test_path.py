"""All steps at small size: corpus, untrained checkpoint, training set, training, measurement."""

import json
from pathlib import Path

import pytest

from holdfast.cli.main import run

Captured = pytest.CaptureFixture[str]


def test_corpus_checkpoint_set_training_and_measurement(tmp_path: Path, capsys: Captured) -> None:
    corpus, fresh, taught, out = (tmp_path / name for name in ("corpus", "fresh", "set", "out"))
    knobs = tmp_path / "knobs.toml"
    write = ["organism", "corpus", "--count", "200", "--out", str(corpus)]
    assert run(write) == 0
    assert run(write) == 0
    assert "already complete" in capsys.readouterr().out
    assert run(["organism", "fresh", "--corpus", str(corpus), "--out", str(fresh)]) == 0
    teach = ["teach", "plain-chat", "--tokens", "2000", "--model", f"hf/{fresh}", "--out", str(taught)]
    assert run(teach) == 0
    assert "examples" in capsys.readouterr().out
    knobs.write_text("tokens = 4000\nbatch_tokens = 1024\n")
    train = ["train", str(knobs), "--base", str(fresh), "--examples", str(taught), "--out", str(out)]
    assert run(train) == 0
    assert f"open it as hf/{out}" in capsys.readouterr().out
    measure = ["--worlds", "pocket-leaking", "--twins", "routine", "--cases", "1", "--out", str(tmp_path / "m")]
    # After so little training its only answer is truncated, so no sample is scored.
    assert run(["measure", "--model", f"hf/{out}", *measure]) == 4
    summary = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert summary["cells"]["base"]["leaking"]["routine"]["outcomes"] == {"truncated": 1}

    knobs.write_text("tokenz = 4000\n")
    assert run(train) == 2
    assert "knobs.toml:1: unknown key 'tokenz' (did you mean 'tokens'?)" in capsys.readouterr().err
    knobs.write_text("tokens = 4000\n")
    (taught / "manifest.json").unlink()
    assert run(train) == 2
    assert "incomplete" in capsys.readouterr().err
