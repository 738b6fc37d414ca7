"""Requests from a Ray cluster: two real nodes, one of which is killed while the set is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.core.errors import PrerequisiteError
from holdfast.data.cluster import remote_models
from holdfast.data.recipes import load_recipe
from holdfast.data.response_cache import responses_of
from holdfast.data.sets import make

#: about fifty examples
TOKENS = 12_000


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'holdfast-align\[cluster\]'"):
        remote_models("pocket/author")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_dies_and_the_set_is_the_same(tokenizer: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script = Path(__file__).parent / "cluster_toy.py"
    run = [sys.executable, str(script), str(tmp_path / "set"), str(tokenizer), str(TOKENS)]
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(run, capture_output=True, text=True, env=quiet, timeout=280)
    assert done.returncode == 0, done.stderr[-3_000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["nodes"] == 2 and told["killed_at"] and told["gone"] == 1
    assert not [reason for reason in told["dropped"] if "error" in reason]
    recipe = load_recipe("stories")
    keys = [(s.key, row.key) for s in recipe.stages for row in responses_of(tmp_path / "set", s.key)]
    assert len(keys) == len(set(keys))
    written = (tmp_path / "set" / "examples.jsonl").read_text().splitlines()
    assert written == [e.model_dump_json(exclude_none=True) for e in make(recipe, TOKENS, 0, tokenizer).examples]
