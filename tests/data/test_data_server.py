"""Teaching over the wire: an OpenAI-compatible server and a batch interface on the loopback, both with faults."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from batch_server import BatchServer
from inspect_ai.model import BatchConfig
from test_data_engine import keys, lines

from holdfast.core.errors import ModelError
from holdfast.core.records import Message
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.recipes import load_recipe
from holdfast.data.response_cache import responses_of
from holdfast.data.sets import SetProgress, SetRequest, make, teach
from holdfast.models.api import ApiModel
from holdfast.models.base import Output, Request
from holdfast.models.pool import RateLimits
from holdfast.models.registry import open_model
from tests.evals.loopback import NAME, served, serving

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    # Inspect's batcher leaves the streams of its answers to the collector.
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]
AUTHOR = open_model("pocket/author")
#: The pocket author holds no other conversation than those of its recipes.
PATIENT = RunLimits(RateLimits(at_once=16, tries=12, pause=0.001), skip_probe=True)
BATCHED = "openai/gpt-4o-mini"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What Inspect leaves is collected while its warnings are waited for."""
    yield
    gc.collect()


def opened(name: str = NAME) -> ApiModel:
    model = open_model(name, network=True)
    assert isinstance(model, ApiModel)
    model.patience = 0.5
    return model


def order(tokenizer: Path, tokens: int = 600) -> SetRequest:
    return SetRequest(load_recipe("stories"), tokens, 0, tokenizer)


def offline(wanted: SetRequest, teacher: str) -> list[str]:
    """The set as the author himself makes it, under another name."""
    examples = make(wanted.recipe, wanted.tokens, wanted.seed, wanted.tokenizer).examples
    return [e.model_dump_json(exclude_none=True).replace("pocket/author", teacher) for e in examples]


def in_vain(out: Path) -> Counter[str]:
    """Errors in a response cache, by message."""
    files = (out / "answers").glob("*.jsonl")
    return Counter(row.error for f in files for row in responses_of(out, f.stem) if row.error)


# ------------------------------------------------------------------------------------------------------ one by one

SLOW = [pytest.param(fault, marks=pytest.mark.slow) for fault in ("timeout", "truncated")]


@pytest.mark.parametrize("fault", ["429", "500", "not json", "no choice", *SLOW])
def test_no_fault_loses_or_duplicates_a_record(fault: str, tokenizer: Path, tmp_path: Path) -> None:
    wanted = order(tokenizer)
    with serving(AUTHOR, 0.3, seed=1) as server:
        server.only = fault
        card = teach(wanted, Roles((opened(),)), tmp_path, limits=PATIENT)
    assert server.counts[fault] > 5
    assert not [reason for reason in card.dropped if reason.endswith("error")]
    assert len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert lines(tmp_path) == offline(wanted, NAME)


def test_the_retry_after_header_is_used() -> None:
    async def asked() -> Output:
        model = opened()
        output = await model.ask(Request("c", (Message(role="user", content="x"),)))
        await model.aclose()
        return output

    with serving(AUTHOR, 1.0) as server:
        server.only, server.wait = "429", 7
        output = asyncio.run(asked())
    assert output.finish == "error" and output.retry_after == 7
    assert (output.error or "").startswith("429 from http://127.0.0.1:")
    assert server.counts.total() == 1


# -------------------------------------------------------------------------------------------------------- by batch


@contextmanager
def batching(server: BatchServer) -> Iterator[None]:
    """Starts the batch API, with the environment variables that point Inspect's client to it."""
    with served(server.app) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "none")
        patch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        yield


def batched() -> Roles:
    model = opened(BATCHED)
    model.use_batches(BatchConfig(tick=0.02, send_delay=0.04))
    return Roles((model,))


def patiently(drain: float = 30.0) -> RunLimits:
    return RunLimits(RateLimits(at_once=400, pause=0.001), batch=True, drain=drain, skip_probe=True)


def test_the_batch_api_gives_the_same_set_in_a_few_large_batches(tokenizer: Path, tmp_path: Path) -> None:
    wanted, server = order(tokenizer), BatchServer(AUTHOR)
    with batching(server):
        teach(wanted, batched(), tmp_path, limits=patiently())
    assert max(server.prompts.values()) == 1, "nothing is asked twice"
    assert max(server.sizes) > 16, "a batch does not begin small, as requests one by one do"
    assert len(keys(tmp_path)) == len(set(keys(tmp_path))) == sum(server.sizes)
    assert lines(tmp_path) == offline(wanted, BATCHED)


def test_requests_of_a_rejected_batch_are_stored_with_the_reason_and_sent_again(
    tokenizer: Path, tmp_path: Path
) -> None:
    wanted, server = order(tokenizer), BatchServer(AUTHOR, rejected=1)
    with batching(server):
        card = teach(wanted, batched(), tmp_path, limits=patiently())
        assert card.dropped["plot: error"] == server.sizes[0]
        assert any("Batch rejected" in reason for reason in in_vain(tmp_path))
        (tmp_path / "manifest.json").unlink()
        teach(wanted, batched(), tmp_path, limits=patiently())
    assert lines(tmp_path) == offline(wanted, BATCHED)


def test_a_run_stopped_within_a_batch_resumes_without_duplicates(tokenizer: Path, tmp_path: Path) -> None:
    wanted, server = order(tokenizer), BatchServer(AUTHOR)

    def interrupt(standing: SetProgress) -> None:
        raise KeyboardInterrupt

    with batching(server):
        with pytest.raises(KeyboardInterrupt):
            teach(wanted, batched(), tmp_path, limits=patiently(drain=0), watch=interrupt)
        known = keys(tmp_path)
        lost = sum(server.sizes) - len(known)
        larger = order(tokenizer, 1200)  # needs the answers that were out
        teach(larger, batched(), tmp_path, limits=patiently())
    assert known and lost, "some batches had come back, and some were out"
    assert len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert lost >= sum(count - 1 for count in server.prompts.values()) > 0
    assert lines(tmp_path) == offline(larger, BATCHED)


def test_a_model_without_a_batch_api_is_rejected_for_batches() -> None:
    with serving(AUTHOR), pytest.raises(ModelError, match="supports no batch API"):
        opened().use_batches()
