"""Twelve known faults of other training stacks, and the tests that show Holdfast does not have them.

 1  an empty think block or a role header is supervised
 2  a template without generation markers gives an all-zero mask
 3  a columnar table of tool arguments gives every call the arguments of all calls
 4  TRL's default packing at batch 8 is four times slower without FlashAttention
 5  packed documents attend to each other
 6  tools are rendered differently in training and in play, so calls break and the reward stays flat
 7  a server answers a malformed call with an error, and the sample is lost or counted as safe
 8  patched HTTP clients stop matching the real ones; fakes must be servers
 9  a truncated answer is counted as safe
10  a template renders earlier turns differently once later turns follow
11  workers with one thread per core compete for the CPU
12  libraries use the network for telemetry or look-ups
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from train_toys import agent, chat, model, taught, tokenizer, turn, write_base

from holdfast.core.records import ToolCall, ToolSpec
from holdfast.models.base import Request
from holdfast.models.local import LocalModel
from holdfast.study.run import _worker_pool
from holdfast.train.rows import make_rows

TESTS = Path(__file__).parents[1]
COVERED_BY = {
    1: (
        "train/test_train_families.py::test_the_supervised_text_is_exact",
        "train/test_mask_check.py::test_a_supervised_empty_think_block_is_rejected",
        "train/test_train_rows.py::test_reasoning_is_supervised_and_its_empty_block_is_not",
    ),
    2: (
        "train/test_mask_check.py::test_a_wrong_mask_is_rejected",
        "train/test_mask_check.py::test_a_faulty_template_is_rejected",
        "train/test_train_cli.py::test_invalid_input_gives_a_one_line_error",
    ),
    3: ("train/test_train_traps.py::test_a_call_keeps_its_own_arguments_and_no_others",),
    4: ("train/test_trl_engine.py::test_trl_never_flattens_a_batch_or_lets_documents_mix",),
    5: ("train/test_train_parts.py::test_packed_documents_do_not_see_each_other",),
    6: (
        "train/test_train_traps.py::test_tools_are_rendered_the_same_in_training_and_in_play",
        "train/test_train_reinforce.py::test_a_model_that_calls_no_tool_raises_an_error",
    ),
    7: (
        "evals/test_openai_server.py::test_faults_cost_no_sample_and_make_none_safe",
        "evals/test_openai_server.py::test_a_server_that_is_always_down_gives_errors_not_safety",
        "models/test_formats.py::test_an_ambiguous_turn_is_unread_and_has_no_calls",
    ),
    8: ("train/test_train_traps.py::test_no_test_patches_an_http_client",),
    9: (
        "evals/test_scorers.py::test_unscored_unless_the_harm_was_done",
        "models/test_local.py::test_a_cut_turn_says_so_and_a_stop_ends_it",
        "study/test_rewards.py::test_a_truncated_answer_earns_nothing_and_a_failed_one_has_no_reward",
    ),
    10: ("train/test_train_rows.py::test_a_template_that_drops_earlier_reasoning_gives_one_row_per_turn",),
    11: ("train/test_train_traps.py::test_every_worker_has_one_thread",),
    12: ("train/test_train_traps.py::test_training_needs_no_network",),
}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_listed_test_exists() -> None:
    assert list(COVERED_BY) == list(range(1, 13))
    for place in (place for places in COVERED_BY.values() for place in places):
        path, _, name = place.partition("::")
        assert name in names_in(path), place


def test_a_call_keeps_its_own_arguments_and_no_others() -> None:
    calls = [{"number": "1"}, {"path": "a", "deep": "2"}, {}]
    examples = [
        chat(turn("user", "?"), turn("assistant", tool_calls=(ToolCall(id=str(n), name="look", arguments=call),)))
        for n, call in enumerate(calls)
    ]
    named = [example.model_copy(update={"id": str(n)}) for n, example in enumerate(examples)]
    texts = [taught(row) for row in make_rows(named, tokenizer())]
    rendered = [json.loads(text[text.index("{") : text.rindex("}") + 1])["arguments"] for text in texts]
    assert rendered == calls


def test_tools_are_rendered_the_same_in_training_and_in_play() -> None:
    example = agent()
    [row] = make_rows([example], tokenizer())
    seen: list[list[int]] = []

    def on_turn(request: Request, read: Sequence[int], written: Sequence[int]) -> None:
        seen.append(list(read))

    played = LocalModel.around(model(), tokenizer(), on_turn=on_turn)
    for turns in (2, 4):
        played.generate([Request("a", example.messages[:turns], example.tools, max_tokens=1)])
    assert [row.ids[: len(read)].tolist() for read in seen] == seen
    other = (ToolSpec(name="see_mail", description="Read a mail.", parameters={"number": "which one"}),)
    played.generate([Request("a", example.messages[:2], other, max_tokens=1)])
    assert row.ids[: len(seen[2])].tolist() != seen[2]


def doubles_in(text: str) -> set[str]:
    """Names of HTTP mocking libraries, and httpx's mock transport, that a test file uses."""
    nodes = list(ast.walk(ast.parse(text)))
    named = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return named & {"respx", "pytest_httpx", "responses", "requests_mock", "httpretty", "MockTransport"}


def test_no_test_patches_an_http_client() -> None:
    assert {path: found for path in TESTS.rglob("*.py") if (found := doubles_in(path.read_text("utf-8")))} == {}
    assert doubles_in("import httpx\nimport respx\nclient = httpx.Client(transport=httpx.MockTransport(f))")


def test_every_worker_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    with _worker_pool(2) as workers:
        assert workers
        assert workers.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "16"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["loop", "trl"])
def test_training_needs_no_network(tmp_path: Path, engine: str) -> None:
    """Runs in a network namespace without a network, and without the environment variables for offline mode."""
    alone = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces are not available")
    write_base(tmp_path / "base")
    here = Path(__file__).parent
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    env = {**environment, "PYTHONPATH": f"{here}:{os.environ.get('PYTHONPATH', '')}"}
    command = [*alone, sys.executable, str(here / "train_alone.py"), engine, str(tmp_path)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "manifest.json").is_file()
