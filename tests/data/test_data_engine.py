"""The engine against known faults of other engines: lost work, silent gaps, late failure, bad cache keys, retry storms.

The letters number the known faults.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.core.errors import ConfigError, IncompleteError, InputError, ResultsError, StoreError
from holdfast.core.records import Message
from holdfast.data import recipes
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.plan import estimate_set
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.response_cache import CachedResponse, ResponseCache, exclusive_lock, responses_of
from holdfast.data.sets import SetRequest, make, teach
from holdfast.models.base import PROBE, Model, Output, Request
from holdfast.models.pool import Endpoint, Pool, RateLimits, RequestLimiter
from holdfast.models.prices import price
from holdfast.models.registry import open_model

AUTHOR = open_model("pocket/author")
QUICK = RateLimits(pause=0.001, tries=3)


class FaultyTeacher:
    """The pocket author with injected faults: `fault(request, times asked)` returns an Output, or None for no fault."""

    name = "toy/fickle"
    identity = "toy"

    def __init__(self, fault: object = None) -> None:
        self.fault, self.asked = fault, Counter[str]()
        self.order: list[str] = []

    async def ask(self, request: Request) -> Output:
        if request.case == PROBE:
            return Output(request.messages[-1].model_copy(update={"role": "assistant"}))
        self.asked[request.case] += 1
        self.order.append(request.case)
        await asyncio.sleep(0)
        output = self.fault(request, self.asked[request.case]) if callable(self.fault) else None
        return output or AUTHOR.generate([request])[0]

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        raise AssertionError("a model with 'ask' must not be called in batches")


def broken(error: str, retry_after: float | None = None) -> Output:
    return Output(Message(role="assistant"), "error", error=error, retry_after=retry_after)


def answer(text: str) -> Output:
    return Output(Message(role="assistant", content=text))


def request_for(tokenizer: Path, tokens: int = 2_000, name: str = "stories") -> SetRequest:
    return SetRequest(load_recipe(name), tokens, 0, tokenizer)


def lines(out: Path) -> list[str]:
    return (out / "examples.jsonl").read_text().splitlines()


def keys(out: Path) -> list[tuple[str, str]]:
    """Stage and key of every answer in a response cache."""
    files = sorted((out / "answers").glob("*.jsonl"))
    return [(f.stem, row.key) for f in files for row in responses_of(out, f.stem) if row.finish != "error"]


# --------------------------------------------------------------------------------- (a) no work is lost on interruption


KILLED = """
import sys, time
from pathlib import Path
from holdfast.data.engine import RunLimits, Roles
from holdfast.data.recipes import load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.registry import open_model

class Slow:
    name, identity = "pocket/author", open_model("pocket/author").identity
    def generate(self, requests):
        time.sleep(0.01)
        return open_model("pocket/author").generate(requests)

out, tokenizer = Path(sys.argv[1]), Path(sys.argv[2])
teach(SetRequest(load_recipe("stories"), 6_000, 0, tokenizer), Roles((Slow(),)), out)
"""


def test_a_killed_run_resumes_without_loss_or_duplicates(tokenizer: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(tokenizer)]
    process = subprocess.Popen(run)
    cache = tmp_path / "killed" / "answers" / "stories.draft.jsonl"
    deadline = time.monotonic() + 60
    while not (cache.is_file() and cache.stat().st_size > 4_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = keys(tmp_path / "killed")
    assert before and not (tmp_path / "killed" / "manifest.json").exists()
    wanted = SetRequest(load_recipe("stories"), 6_000, 0, tokenizer)
    teach(wanted, Roles((AUTHOR,)), tmp_path / "killed")
    teach(wanted, Roles((AUTHOR,)), tmp_path / "whole")
    after = keys(tmp_path / "killed")
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert set(before) <= set(after) and len(after) == len(set(after))


def test_an_interrupted_run_keeps_pending_answers(tokenizer: Path, tmp_path: Path) -> None:
    def interrupt(standing: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(request_for(tokenizer), Roles((FaultyTeacher(),)), tmp_path, watch=interrupt)
    kept = keys(tmp_path)
    again = FaultyTeacher()
    teach(request_for(tokenizer), Roles((again,)), tmp_path)
    assert kept and len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert sum(again.asked.values()) == len(keys(tmp_path)) - len(kept)


def test_a_truncated_row_is_removed_and_a_larger_budget_sends_only_new_requests(
    tokenizer: Path, tmp_path: Path
) -> None:
    teach(request_for(tokenizer), Roles((AUTHOR,)), tmp_path)
    small = lines(tmp_path)
    with (tmp_path / "answers" / "stories.plot.jsonl").open("a") as file:
        file.write('{"key":"00')
    teacher = FaultyTeacher()
    teacher.identity, teacher.name = AUTHOR.identity, AUTHOR.name  # type: ignore[misc]
    known = len(keys(tmp_path))
    teach(request_for(tokenizer, 8_000), Roles((teacher,)), tmp_path)
    assert set(small) < set(lines(tmp_path))
    assert len(keys(tmp_path)) == known + sum(teacher.asked.values())


def test_a_finished_set_is_unchanged_and_two_runs_cannot_write_one_folder(tokenizer: Path, tmp_path: Path) -> None:
    card = teach(request_for(tokenizer), Roles((FaultyTeacher(),)), tmp_path)
    idle = FaultyTeacher()
    assert teach(request_for(tokenizer), Roles((idle,)), tmp_path) == card and not idle.asked
    with exclusive_lock(tmp_path), pytest.raises(IncompleteError, match="another run is writing this set"):
        teach(request_for(tokenizer, 3_000), Roles((idle,)), tmp_path)


def test_a_full_disk_stops_the_run_and_leaves_no_partial_record(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = [0], os.write

    def full(descriptor: int, data: bytes) -> int:
        written[0] += len(data)
        if written[0] > 20_000:
            real(descriptor, bytes(data)[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("holdfast.data.response_cache.os.write", full)
    with pytest.raises(StoreError, match="disk is full"):
        teach(request_for(tokenizer), Roles((AUTHOR,)), tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "examples.jsonl").exists()
    teach(request_for(tokenizer), Roles((AUTHOR,)), tmp_path)
    assert len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert lines(tmp_path) == [
        e.model_dump_json(exclude_none=True) for e in make(request_for(tokenizer).recipe, 2_000, 0, tokenizer).examples
    ]


# ------------------------------------------------------------ (b), (d) failed requests are stored and affect no others


def test_a_failed_request_is_stored_with_its_reason_and_sent_again_by_the_next_run(
    tokenizer: Path, tmp_path: Path
) -> None:
    teacher = FaultyTeacher(lambda r, n: broken("no such thing") if r.seed % 10 == 0 else None)
    card = teach(request_for(tokenizer, 4_000), Roles((teacher,)), tmp_path)
    failed = [row for row in responses_of(tmp_path, "stories.draft") if row.finish == "error"]
    assert failed and {row.error for row in failed} == {"no such thing"}
    assert card.dropped["draft: error"] > 0
    assert card.asked == card.examples + sum(card.dropped.values()) + card.unused
    (tmp_path / "manifest.json").unlink()
    mended = teach(request_for(tokenizer, 4_000), Roles((FaultyTeacher(),)), tmp_path)
    assert "draft: error" not in mended.dropped


def test_a_request_that_fails_its_batch_affects_no_other(tokenizer: Path) -> None:
    class Brittle:
        name, identity = "toy/brittle", "toy"

        def generate(self, requests: Sequence[Request]) -> list[Output]:
            if any(request.seed % 16 == 0 for request in requests):
                raise ValueError("bad row")
            return AUTHOR.generate(requests)

    card = make(load_recipe("stories"), 4_000, 0, tokenizer, Brittle()).card  # type: ignore[arg-type]
    assert card.examples > 20
    assert sum(count for reason, count in card.dropped.items() if reason.endswith(": error")) > 0


# --------------------------------------------------------------------------------------- (c) a failing run stops early


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_run_stops_early_if_too_many_requests_fail(share: float, tokenizer: Path, tmp_path: Path) -> None:
    teacher = FaultyTeacher(lambda r, n: broken("bad key") if r.seed % 100 < 100 * share else None)
    with pytest.raises(IncompleteError, match=r"requests to toy/fickle failed, \d+ of them with: bad key"):
        teach(request_for(tokenizer, 100_000), Roles((teacher,)), tmp_path)
    assert sum(teacher.asked.values()) < 500
    assert not (tmp_path / "manifest.json").exists()


# ----------------------------------------------------------------- (e) keys cover everything that determines an answer


def requests_sent(tokenizer: Path, out: Path, changed: SetRequest | None = None, **toy: str) -> int:
    teacher = FaultyTeacher()
    for name, value in toy.items():
        setattr(teacher, name, value)
    (out / "manifest.json").unlink(missing_ok=True)
    teach(changed or request_for(tokenizer), Roles((teacher,)), out)
    return sum(teacher.asked.values())


def test_the_key_covers_everything_that_determines_an_answer(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = requests_sent(tokenizer, tmp_path)
    assert requests_sent(tokenizer, tmp_path) == 0
    assert requests_sent(tokenizer, tmp_path, identity="another") >= everything
    assert requests_sent(tokenizer, tmp_path, SetRequest(load_recipe("stories"), 2_000, 1, tokenizer)) > 0
    assert requests_sent(tokenizer, tmp_path) == 0
    # A changed prompt is sent again; the stages before it are not.
    shutil.copytree(recipes.FOLDER, tmp_path / "prompts")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "prompts")
    file = tmp_path / "prompts" / "stories" / "3-critique.md"
    file.write_text(file.read_text().replace("Name the worst fault", "Name the very worst fault"))
    teacher = FaultyTeacher()
    (tmp_path / "manifest.json").unlink()
    teach(request_for(tokenizer), Roles((teacher,)), tmp_path)
    assert 0 < sum(teacher.asked.values()) < everything / 2


def test_answers_are_reused_from_another_set(tokenizer: Path, tmp_path: Path) -> None:
    teach(request_for(tokenizer, name="honeypot"), Roles((AUTHOR,)), tmp_path / "plain")
    teach(request_for(tokenizer, name="deliberation"), Roles((AUTHOR,)), tmp_path / "new", reuse=[tmp_path / "plain"])
    rows = list(responses_of(tmp_path / "new", "honeypot: act"))
    assert rows and any(not row.paid for row in rows)


# ------------------------------------------------------------------------------------------------- (f) no retry storms


def test_the_request_limit_grows_slowly_and_halves_once_per_round() -> None:
    async def play() -> list[float]:
        gate = RequestLimiter(8, 64)
        tickets = [await gate.enter() for _ in range(8)]
        limits = []
        for ticket in tickets:
            gate.leave(ticket, turned_away=True)
        limits.append(gate.limit)
        for _ in range(4):
            gate.leave(await gate.enter(), turned_away=False)
        limits.append(gate.limit)
        gate.leave(await gate.enter(), turned_away=True)
        return [*limits, gate.limit]

    halved, grown, again = asyncio.run(play())
    assert halved == 4
    assert 4.9 < grown < 5.1 and again == grown / 2


def test_the_request_limit_doubles_in_each_round_until_a_request_is_turned_away() -> None:
    async def play() -> list[float]:
        gate = RequestLimiter(8, 64)
        limits = []
        for turned_away in (False, False, True, False):
            tickets = [await gate.enter() for _ in range(int(gate.limit))]
            for ticket in tickets:
                gate.leave(ticket, turned_away)
            limits.append(gate.limit)
        return limits

    doubled, again, halved, slowly = asyncio.run(play())
    assert (doubled, again, halved) == (16, 32, 16)
    assert 16.9 < slowly < 17.1


def test_the_request_limit_adapts_to_an_endpoint_of_capacity_four(tokenizer: Path) -> None:
    class Narrow(FaultyTeacher):
        out = worst = away = 0

        async def ask(self, request: Request) -> Output:
            self.out += 1
            try:
                await asyncio.sleep(0.002)
                if self.out > 4:
                    self.away += 1
                    return broken("RateLimitError: slow down", retry_after=0.0)
                return AUTHOR.generate([request])[0]
            finally:
                self.out -= 1

    async def play() -> tuple[Narrow, list[int]]:
        model = Narrow()
        # No pauses: the test is about the limiter, and on a busy machine pauses would take long.
        pool = Pool([model], RateLimits(start=32, tries=100, pause=0))
        requests = [Request(str(i), (Message(role="user", content="x"),)) for i in range(600)]
        outputs = await asyncio.gather(*(pool.ask(request) for request in requests))
        assert not [o for o in outputs if o.finish == "error"]
        return model, pool.limits

    model, limits = asyncio.run(play())
    assert limits[0] <= 8
    assert model.away < 300


def test_a_request_fails_after_its_retries_and_reports_their_number() -> None:
    teacher = FaultyTeacher(lambda r, n: broken("busy", retry_after=0.0))
    output = asyncio.run(Pool([teacher], QUICK).ask(Request("a", (Message(role="user", content="x"),))))
    assert output.error == "busy (asked 3 times)" and teacher.asked["a"] == 3


def test_requests_per_minute_are_limited() -> None:
    async def play() -> float:
        endpoint = Endpoint(FaultyTeacher(), RateLimits(per_minute=1_200))
        start = time.monotonic()
        await asyncio.gather(*(endpoint.ask(Request(str(i), (Message(role="user", content="x"),))) for i in range(6)))
        return time.monotonic() - start

    assert asyncio.run(play()) >= 5 * 60 / 1_200


def test_requests_go_to_the_endpoint_that_answers(tokenizer: Path, tmp_path: Path) -> None:
    dead = FaultyTeacher(lambda r, n: broken("connection refused", retry_after=0.0))
    alive = FaultyTeacher()
    limits = RunLimits(RateLimits(pause=0.001, tries=12))
    card = teach(request_for(tokenizer), Roles((dead, alive)), tmp_path, limits=limits)
    assert card.examples > 5 and not [r for r in card.dropped if "error" in r]
    assert sum(dead.asked.values()) < sum(alive.asked.values())


def test_a_request_rejected_by_one_endpoint_goes_to_another_at_once() -> None:
    dead, alive = (
        FaultyTeacher(lambda r, n: broken("the node is gone", retry_after=0.0)),
        FaultyTeacher(lambda r, n: answer("here")),
    )
    pool = Pool([dead, alive], RateLimits(pause=60, start=1))
    requests = [Request(str(i), (Message(role="user", content="x"),)) for i in range(20)]

    async def play() -> list[Output]:
        async with asyncio.timeout(5):
            return list(await asyncio.gather(*(pool.ask(request) for request in requests)))

    assert {output.message.content for output in asyncio.run(play())} == {"here"}
    assert dead.asked and set(alive.asked.values()) == {1}


# ------------------------------------------------------------------------------- (g), (h) few dependencies, no network


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event.startswith("socket.connect") else None)
from pathlib import Path
from holdfast.data.engine import Roles
from holdfast.data.recipes import load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.registry import open_model
request = SetRequest(load_recipe("stories"), 1_000, 0, Path(sys.argv[2]))
teach(request, Roles((open_model("pocket/author"),)), Path(sys.argv[1]))
heavy = {"torch", "transformers", "inspect_ai", "trl", "ray", "datasets", "litellm", "posthog", "pandas"}
print(len(seen), sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""


def test_the_engine_imports_no_framework_and_opens_no_connection(tokenizer: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-c", WATCHED, str(tmp_path), str(tokenizer)]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert output.strip() == "0 []"


# ------------------------------------------------------------------------------------------------- (i) prices and caps


def prices(folder: Path) -> Path:
    path = folder / "prices.toml"
    path.write_text('[models."toy/fickle"]\nin = 1000.0\nout = 2000.0\nbatch = 0.5\n')
    return path


def test_an_unknown_model_name_gives_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    assert price("openai/gpt-5-mini", 1_000_000, 100_000) == Decimal("0.45")
    assert price("openai/gpt-5-mini", 1_000_000, 100_000, batch=True) == Decimal("0.225")
    assert price("pocket/author", 10**9, 10**9) == 0
    assert price("toy/fickle", 1_000_000, 0, table=prices(tmp_path)) == 1000
    with pytest.raises(
        InputError, match=r"no price is known for 'openai/gpt-5-mimi', the nearest is 'openai/gpt-5-mini'"
    ):
        price("openai/gpt-5-mimi", 1, 1)
    (tmp_path / "bad.toml").write_text('[models."a/b"]\nin = 1.0\n')
    with pytest.raises(ConfigError, match="out"):
        price("a/b", 1, 1, table=tmp_path / "bad.toml")


def test_a_plan_uses_measured_values_if_available(tokenizer: Path, tmp_path: Path) -> None:
    recipe = load_recipe("stories")
    guessed = estimate_set(recipe, 100_000, {"teacher": "pocket/author"})
    assert not guessed.measured and guessed.dollars == 0
    # five stages, and some items are rewritten and graded again
    assert 5 * guessed.records < guessed.requests < 5.5 * guessed.records
    card = teach(request_for(tokenizer, 3_000), Roles((AUTHOR,)), tmp_path)
    known = estimate_set(recipe, 100_000, {"teacher": "pocket/author"}, measured=tmp_path)
    assert known.measured
    assert known.examples == pytest.approx(100_000 * card.examples / card.tokens, abs=1)
    real = make(recipe, 20_000, 0, tokenizer).card
    assert known.records / 5 == pytest.approx(real.asked, rel=0.15)


def test_a_plan_prices_each_role_and_shared_drafts() -> None:
    recipe = load_recipe("charter-documents")
    names = {"teacher": "anthropic/claude-haiku-4-5", "judge": "openai/gpt-5-nano"}
    one = estimate_set(recipe, 1_000_000, names)  # type: ignore[arg-type]
    assert {s.model for s in one.stages} == set(names.values())
    assert float(one.dollars) == pytest.approx(float(one.dollars_per_record) * one.records, rel=0.01)
    four_drafts = load_recipe("charter-documents", RecipeChoice(drafts=4))
    shared = estimate_set(four_drafts, 1_000_000, names)  # type: ignore[arg-type]
    assert shared.dollars < one.dollars and shared.stages[0].requests == 0.25


def test_few_more_items_are_started_than_used(tokenizer: Path, tmp_path: Path) -> None:
    teacher, wanted = FaultyTeacher(), request_for(tokenizer, 1_000)
    card = teach(wanted, Roles((teacher,)), tmp_path, limits=RunLimits(RateLimits(at_once=500, start=500)))
    begun = sum(key[0] == "stories.plot" for key in keys(tmp_path))
    assert card.asked <= begun < card.asked + 32


def test_a_cap_is_enforced_and_includes_the_cost_of_earlier_runs(tokenizer: Path, tmp_path: Path) -> None:
    limits = RunLimits(cap=Decimal(60), prices=prices(tmp_path))
    with pytest.raises(IncompleteError, match=r"the budget of \$60 is reached"):
        teach(request_for(tokenizer, 100_000), Roles((FaultyTeacher(),)), tmp_path / "set", limits=limits)
    rows = [row for f in (tmp_path / "set" / "answers").glob("*") for row in responses_of(tmp_path / "set", f.stem)]
    spent = sum(Decimal(row.tokens[0]) / 1000 + Decimal(row.tokens[1]) / 500 for row in rows)
    assert 30 < spent <= 60
    idle = FaultyTeacher()
    with pytest.raises(IncompleteError, match="budget"):
        teach(request_for(tokenizer, 100_000), Roles((idle,)), tmp_path / "set", limits=limits)
    assert sum(idle.asked.values()) < len(rows) / 4


def test_a_cap_below_one_item_and_a_cap_without_a_price_are_rejected(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the cap of \$0.01 does not pay for one item"):
        teach(
            request_for(tokenizer),
            Roles((FaultyTeacher(),)),
            tmp_path,
            limits=RunLimits(cap=Decimal("0.01"), prices=prices(tmp_path)),
        )
    with pytest.raises(InputError, match="no price is known for 'toy/fickle'"):
        teach(request_for(tokenizer), Roles((FaultyTeacher(),)), tmp_path, limits=RunLimits(cap=Decimal(1)))
    assert not (tmp_path / "answers").exists()


def test_without_a_price_the_cost_is_unknown_and_not_zero(tokenizer: Path, tmp_path: Path) -> None:
    assert teach(request_for(tokenizer), Roles((FaultyTeacher(),)), tmp_path).spent is None
    assert "unknown (no price" in (tmp_path / "README.md").read_text()


# -------------------------------------------------------------------------------------------------- the response cache


def test_the_cache_finds_the_last_answer_and_rejects_invalid_files(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    for finish, text in (("error", ""), ("stop", "answer")):
        cache.add("a: b", CachedResponse(key="00000000000000aa", item=0, model="m", finish=finish, text=text))  # type: ignore[arg-type]
    cache.close()
    with closing(ResponseCache(tmp_path)) as cache:
        found = cache.find("a: b", "00000000000000aa")
        assert found is not None and found.text == "answer"
        assert cache.find("a: b", "00000000000000ab") is None
    (tmp_path / "answers" / "a.b.jsonl").write_text('{"what":"is this"}\n')
    with pytest.raises(ResultsError, match="not a response cache"):
        ResponseCache(tmp_path).find("a: b", "00000000000000aa")


def test_different_model_interfaces_give_the_same_set(tokenizer: Path) -> None:
    """The author, which answers batches, and a model that answers one request at a time give the same set."""
    models: list[Model] = [AUTHOR, FaultyTeacher()]
    sets = [
        [e.messages or e.text for e in make(load_recipe("stories"), 2_000, 0, tokenizer, m).examples] for m in models
    ]
    assert sets[0] == sets[1]
