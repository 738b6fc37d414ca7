"""The engine against what other engines are blamed for: lost work, silent gaps, late news, bad keys, storms, no price.

The letters are those of the complaints that the engine answers.
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
from holdfast.data.response_cache import CachedResponse, Ledger, alone, responses_of
from holdfast.data.sets import SetRequest, make, teach
from holdfast.models.base import Model, Output, Request
from holdfast.models.pool import Endpoint, Pool, RateLimits, RequestLimiter
from holdfast.models.prices import price
from holdfast.models.registry import open_model

AUTHOR = open_model("pocket/author")
QUICK = RateLimits(pause=0.001, tries=3)


class Fickle:
    """The pocket author over a line that fails as told: `fault(request, asked)` gives an Output or None."""

    name = "toy/fickle"
    identity = "toy"

    def __init__(self, fault: object = None) -> None:
        self.fault, self.asked = fault, Counter[str]()
        self.order: list[str] = []

    async def ask(self, request: Request) -> Output:
        self.asked[request.case] += 1
        self.order.append(request.case)
        await asyncio.sleep(0)
        found = self.fault(request, self.asked[request.case]) if callable(self.fault) else None
        return found or AUTHOR.generate([request])[0]

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        raise AssertionError("a model that can be asked one by one is asked one by one")


def broken(error: str, again: float | None = None) -> Output:
    return Output(Message(role="assistant"), "error", error=error, again=again)


def said(text: str) -> Output:
    return Output(Message(role="assistant", content=text))


def order(tokenizer: Path, tokens: int = 2_000, name: str = "stories") -> SetRequest:
    return SetRequest(load_recipe(name), tokens, 0, tokenizer)


def lines(out: Path) -> list[str]:
    return (out / "examples.jsonl").read_text().splitlines()


def keys(out: Path) -> list[tuple[str, str]]:
    """Stage and key of every answer in a ledger."""
    files = sorted((out / "answers").glob("*.jsonl"))
    return [(f.stem, row.key) for f in files for row in responses_of(out, f.stem) if row.finish != "error"]


# ------------------------------------------------------------------------------- (a) no work is lost on interruption


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


def test_a_killed_run_resumes_with_nothing_lost_nothing_doubled_and_the_same_ids(
    tokenizer: Path, tmp_path: Path
) -> None:
    run = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(tokenizer)]
    process = subprocess.Popen(run)
    ledger = tmp_path / "killed" / "answers" / "stories.draft.jsonl"
    deadline = time.monotonic() + 60
    while not (ledger.is_file() and ledger.stat().st_size > 4_000) and time.monotonic() < deadline:
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


def test_an_interrupted_run_keeps_what_was_on_its_way(tokenizer: Path, tmp_path: Path) -> None:
    def interrupt(standing: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(order(tokenizer), Roles((Fickle(),)), tmp_path, watch=interrupt)
    kept = keys(tmp_path)
    again = Fickle()
    teach(order(tokenizer), Roles((again,)), tmp_path)
    assert kept and len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert sum(again.asked.values()) == len(keys(tmp_path)) - len(kept)


def test_a_half_written_row_is_cut_and_a_larger_budget_asks_only_for_more(tokenizer: Path, tmp_path: Path) -> None:
    teach(order(tokenizer), Roles((AUTHOR,)), tmp_path)
    small = lines(tmp_path)
    with (tmp_path / "answers" / "stories.plot.jsonl").open("a") as file:
        file.write('{"key":"00')
    teacher = Fickle()
    teacher.identity, teacher.name = AUTHOR.identity, AUTHOR.name  # type: ignore[misc]
    known = len(keys(tmp_path))
    teach(order(tokenizer, 8_000), Roles((teacher,)), tmp_path)
    assert set(small) < set(lines(tmp_path))
    assert len(keys(tmp_path)) == known + sum(teacher.asked.values())


def test_a_finished_set_is_left_alone_and_two_runs_do_not_mix(tokenizer: Path, tmp_path: Path) -> None:
    card = teach(order(tokenizer), Roles((Fickle(),)), tmp_path)
    idle = Fickle()
    assert teach(order(tokenizer), Roles((idle,)), tmp_path) == card and not idle.asked
    with alone(tmp_path), pytest.raises(IncompleteError, match="another run writes this set"):
        teach(order(tokenizer, 3_000), Roles((idle,)), tmp_path)


def test_a_full_disk_stops_the_run_and_leaves_no_half_record(
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
        teach(order(tokenizer), Roles((AUTHOR,)), tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "examples.jsonl").exists()
    teach(order(tokenizer), Roles((AUTHOR,)), tmp_path)
    assert len(keys(tmp_path)) == len(set(keys(tmp_path)))
    assert lines(tmp_path) == [
        e.model_dump_json(exclude_none=True) for e in make(order(tokenizer).recipe, 2_000, 0, tokenizer).examples
    ]


# ------------------------------------------------------------------- (b), (d) failed rows are rows, and hurt no others


def test_a_failed_request_is_a_row_with_its_reason_and_is_asked_again_next_time(
    tokenizer: Path, tmp_path: Path
) -> None:
    teacher = Fickle(lambda r, n: broken("no such thing") if r.seed % 10 == 0 else None)
    card = teach(order(tokenizer, 4_000), Roles((teacher,)), tmp_path)
    failed = [row for row in responses_of(tmp_path, "stories.draft") if row.finish == "error"]
    assert failed and {row.error for row in failed} == {"no such thing"}
    assert card.dropped["draft: error"] > 0
    assert card.asked == card.examples + sum(card.dropped.values()) + card.unused
    (tmp_path / "manifest.json").unlink()
    mended = teach(order(tokenizer, 4_000), Roles((Fickle(),)), tmp_path)
    assert "draft: error" not in mended.dropped


def test_a_request_that_breaks_its_batch_hurts_no_other(tokenizer: Path) -> None:
    class Brittle:
        name, identity = "toy/brittle", "toy"

        def generate(self, requests: Sequence[Request]) -> list[Output]:
            if any(request.seed % 16 == 0 for request in requests):
                raise ValueError("bad row")
            return AUTHOR.generate(requests)

    card = make(load_recipe("stories"), 4_000, 0, tokenizer, Brittle()).card  # type: ignore[arg-type]
    assert card.examples > 20
    assert sum(count for reason, count in card.dropped.items() if reason.endswith(": error")) > 0


# ---------------------------------------------------------------------------------------------- (c) failure is early


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_run_stops_early_when_failures_pass_a_share(share: float, tokenizer: Path, tmp_path: Path) -> None:
    teacher = Fickle(lambda r, n: broken("bad key") if r.seed % 100 < 100 * share else None)
    with pytest.raises(IncompleteError, match=r"requests to toy/fickle failed, \d+ of them with: bad key"):
        teach(order(tokenizer, 100_000), Roles((teacher,)), tmp_path)
    assert sum(teacher.asked.values()) < 500
    assert not (tmp_path / "manifest.json").exists()


# ----------------------------------------------------------------------------- (e) keys hold what made an answer


def asked_again(tokenizer: Path, out: Path, changed: SetRequest | None = None, **toy: str) -> int:
    teacher = Fickle()
    for name, value in toy.items():
        setattr(teacher, name, value)
    (out / "manifest.json").unlink(missing_ok=True)
    teach(changed or order(tokenizer), Roles((teacher,)), out)
    return sum(teacher.asked.values())


def test_what_made_an_answer_is_its_key(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = asked_again(tokenizer, tmp_path)
    assert asked_again(tokenizer, tmp_path) == 0
    assert asked_again(tokenizer, tmp_path, identity="another") >= everything
    assert asked_again(tokenizer, tmp_path, SetRequest(load_recipe("stories"), 2_000, 1, tokenizer)) > 0
    assert asked_again(tokenizer, tmp_path) == 0
    # A changed prompt is asked anew; the stages before it are not.
    shutil.copytree(recipes.FOLDER, tmp_path / "prompts")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "prompts")
    file = tmp_path / "prompts" / "stories" / "3-critique.md"
    file.write_text(file.read_text().replace("Name the worst fault", "Name the very worst fault"))
    teacher = Fickle()
    (tmp_path / "manifest.json").unlink()
    teach(order(tokenizer), Roles((teacher,)), tmp_path)
    assert 0 < sum(teacher.asked.values()) < everything / 2


def test_answers_are_taken_over_from_another_set(tokenizer: Path, tmp_path: Path) -> None:
    teach(order(tokenizer, name="honeypot"), Roles((AUTHOR,)), tmp_path / "plain")
    teach(order(tokenizer, name="deliberation"), Roles((AUTHOR,)), tmp_path / "new", reuse=[tmp_path / "plain"])
    rows = list(responses_of(tmp_path / "new", "honeypot: act"))
    assert rows and any(not row.paid for row in rows)


# ------------------------------------------------------------------------------------------------- (f) no storms


def test_a_gate_opens_slowly_and_halves_once_a_round() -> None:
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


def test_an_endpoint_that_bears_four_is_found_to_bear_four(tokenizer: Path) -> None:
    class Narrow(Fickle):
        out = worst = away = 0

        async def ask(self, request: Request) -> Output:
            self.out += 1
            try:
                await asyncio.sleep(0.002)
                if self.out > 4:
                    self.away += 1
                    return broken("RateLimitError: slow down", again=0.0)
                return AUTHOR.generate([request])[0]
            finally:
                self.out -= 1

    async def play() -> tuple[Narrow, list[int]]:
        model = Narrow()
        # No pauses: what is looked at is the gate, and a machine without time would make the pauses long.
        pool = Pool([model], RateLimits(start=32, tries=100, pause=0))
        requests = [Request(str(i), (Message(role="user", content="x"),)) for i in range(600)]
        outputs = await asyncio.gather(*(pool.ask(request) for request in requests))
        assert not [o for o in outputs if o.finish == "error"]
        return model, pool.limits

    model, limits = asyncio.run(play())
    assert limits[0] <= 8
    assert model.away < 300


def test_a_request_is_given_up_after_its_tries_and_says_so() -> None:
    teacher = Fickle(lambda r, n: broken("busy", again=0.0))
    output = asyncio.run(Pool([teacher], QUICK).ask(Request("a", (Message(role="user", content="x"),))))
    assert output.error == "busy (asked 3 times)" and teacher.asked["a"] == 3


def test_a_pace_is_kept() -> None:
    async def play() -> float:
        endpoint = Endpoint(Fickle(), RateLimits(per_minute=1_200))
        start = time.monotonic()
        await asyncio.gather(*(endpoint.ask(Request(str(i), (Message(role="user", content="x"),))) for i in range(6)))
        return time.monotonic() - start

    assert asyncio.run(play()) >= 5 * 60 / 1_200


def test_requests_go_where_there_is_room(tokenizer: Path, tmp_path: Path) -> None:
    dead = Fickle(lambda r, n: broken("connection refused", again=0.0))
    alive = Fickle()
    bounds = RunLimits(RateLimits(pause=0.001, tries=12))
    card = teach(order(tokenizer), Roles((dead, alive)), tmp_path, bounds=bounds)
    assert card.examples > 5 and not [r for r in card.dropped if "error" in r]
    assert sum(dead.asked.values()) < sum(alive.asked.values())


def test_what_one_endpoint_turned_away_is_asked_of_another_at_once() -> None:
    dead, alive = Fickle(lambda r, n: broken("the node is gone", again=0.0)), Fickle(lambda r, n: said("here"))
    pool = Pool([dead, alive], RateLimits(pause=60, start=1))
    requests = [Request(str(i), (Message(role="user", content="x"),)) for i in range(20)]

    async def play() -> list[Output]:
        async with asyncio.timeout(5):
            return list(await asyncio.gather(*(pool.ask(request) for request in requests)))

    assert {output.message.content for output in asyncio.run(play())} == {"here"}
    assert dead.asked and set(alive.asked.values()) == {1}


# --------------------------------------------------------------------- (g), (h) few pins, no word to anybody outside


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event.startswith("socket.connect") else None)
from pathlib import Path
from holdfast.data.engine import Roles
from holdfast.data.recipes import load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.registry import open_model
order = SetRequest(load_recipe("stories"), 1_000, 0, Path(sys.argv[2]))
teach(order, Roles((open_model("pocket/author"),)), Path(sys.argv[1]))
heavy = {"torch", "transformers", "inspect_ai", "trl", "ray", "datasets", "litellm", "posthog", "pandas"}
print(len(seen), sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""


def test_the_engine_brings_no_framework_and_reaches_nobody(tokenizer: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-c", WATCHED, str(tmp_path), str(tokenizer)]
    shown = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "0 []"


# ---------------------------------------------------------------------------------- (i) a price first, and a cap


def prices(folder: Path) -> Path:
    path = folder / "prices.toml"
    path.write_text('[models."toy/fickle"]\nin = 1000.0\nout = 2000.0\nbatch = 0.5\n')
    return path


def test_a_price_is_of_the_table_or_an_error_that_names_the_nearest(tmp_path: Path) -> None:
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


def test_a_plan_is_measured_where_there_is_something_to_measure(tokenizer: Path, tmp_path: Path) -> None:
    recipe = load_recipe("stories")
    guessed = estimate_set(recipe, 100_000, {"teacher": "pocket/author"})
    assert not guessed.measured and guessed.requests == 4 * guessed.records and guessed.dollars == 0
    card = teach(order(tokenizer, 3_000), Roles((AUTHOR,)), tmp_path)
    known = estimate_set(recipe, 100_000, {"teacher": "pocket/author"}, measured=tmp_path)
    assert known.measured
    assert known.examples == pytest.approx(100_000 * card.examples / card.tokens, abs=1)
    real = make(recipe, 20_000, 0, tokenizer).card
    assert known.records / 5 == pytest.approx(real.asked, rel=0.15)


def test_a_plan_has_a_price_for_each_role_and_shares_drafts() -> None:
    recipe = load_recipe("charter-documents", RecipeChoice(language="english"))
    names = {"teacher": "anthropic/claude-haiku-4-5", "judge": "openai/gpt-5-nano"}
    one = estimate_set(recipe, 1_000_000, names)  # type: ignore[arg-type]
    assert {s.model for s in one.stages} == set(names.values())
    assert float(one.dollars) == pytest.approx(float(one.dollars_per_record) * one.records, rel=0.01)
    four_drafts = load_recipe("charter-documents", RecipeChoice(language="english", drafts=4))
    shared = estimate_set(four_drafts, 1_000_000, names)  # type: ignore[arg-type]
    assert shared.dollars < one.dollars and shared.stages[0].requests == 0.25


def test_hardly_more_is_begun_than_is_taken(tokenizer: Path, tmp_path: Path) -> None:
    teacher, wanted = Fickle(), order(tokenizer, 1_000)
    card = teach(wanted, Roles((teacher,)), tmp_path, bounds=RunLimits(RateLimits(at_once=500, start=500)))
    begun = sum(key[0] == "stories.plot" for key in keys(tmp_path))
    assert card.asked <= begun < card.asked + 32


def test_a_cap_is_kept_and_a_resumed_run_counts_what_was_spent(tokenizer: Path, tmp_path: Path) -> None:
    bounds = RunLimits(cap=Decimal(60), prices=prices(tmp_path))
    with pytest.raises(IncompleteError, match=r"the cap of \$60 is reached"):
        teach(order(tokenizer, 100_000), Roles((Fickle(),)), tmp_path / "set", bounds=bounds)
    rows = [row for f in (tmp_path / "set" / "answers").glob("*") for row in responses_of(tmp_path / "set", f.stem)]
    spent = sum(Decimal(row.tokens[0]) / 1000 + Decimal(row.tokens[1]) / 500 for row in rows)
    assert 30 < spent <= 60
    idle = Fickle()
    with pytest.raises(IncompleteError, match="cap"):
        teach(order(tokenizer, 100_000), Roles((idle,)), tmp_path / "set", bounds=bounds)
    assert sum(idle.asked.values()) < len(rows) / 4


def test_a_cap_smaller_than_a_record_and_a_cap_without_a_price_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a cap of \$0.01 does not pay for one record"):
        teach(
            order(tokenizer),
            Roles((Fickle(),)),
            tmp_path,
            bounds=RunLimits(cap=Decimal("0.01"), prices=prices(tmp_path)),
        )
    with pytest.raises(InputError, match="no price is known for 'toy/fickle'"):
        teach(order(tokenizer), Roles((Fickle(),)), tmp_path, bounds=RunLimits(cap=Decimal(1)))
    assert not (tmp_path / "answers").exists()


def test_without_a_price_the_money_is_unknown_and_never_zero(tokenizer: Path, tmp_path: Path) -> None:
    assert teach(order(tokenizer), Roles((Fickle(),)), tmp_path).spent is None
    assert "unknown: no price" in (tmp_path / "README.md").read_text()


# ------------------------------------------------------------------------------------------------------ the ledger


def test_a_ledger_finds_the_last_answer_and_refuses_what_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for finish, text in (("error", ""), ("stop", "said")):
        ledger.add("a: b", CachedResponse(key="00000000000000aa", item=0, model="m", finish=finish, text=text))  # type: ignore[arg-type]
    ledger.close()
    with closing(Ledger(tmp_path)) as ledger:
        found = ledger.find("a: b", "00000000000000aa")
        assert found is not None and found.text == "said"
        assert ledger.find("a: b", "00000000000000ab") is None
    (tmp_path / "answers" / "a.b.jsonl").write_text('{"what":"is this"}\n')
    with pytest.raises(ResultsError, match="not a ledger"):
        Ledger(tmp_path).find("a: b", "00000000000000aa")


def test_a_model_is_a_model(tokenizer: Path) -> None:
    """The author, a batch model, and a toy that is asked one by one give the same set."""
    models: list[Model] = [AUTHOR, Fickle()]
    sets = [
        [e.messages or e.text for e in make(load_recipe("stories"), 2_000, 0, tokenizer, m).examples] for m in models
    ]
    assert sets[0] == sets[1]
