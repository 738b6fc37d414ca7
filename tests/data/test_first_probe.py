"""The probe before the first request of a recipe: what a model's server or template loses stops the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.errors import IncompleteError, ModelError
from holdfast.core.records import Message
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.recipes import RecipeChoice, load_recipe
from holdfast.data.sets import SetRequest, teach
from holdfast.models.base import PROBE, Model, Output, Request
from holdfast.models.chat_template import ChatTemplate
from holdfast.models.live_probe import NOT_PROBED, SKIP
from holdfast.models.pool import RateLimits
from holdfast.models.prices import Money
from holdfast.models.registry import open_model
from tests.evals.endpoint import NAME, chat, endpoint
from tests.models.test_live_probe import sound, without

AUTHOR = open_model("pocket/author")
QUICK = RateLimits(pause=0.001)


class Server:
    """A model behind a server: `answer` answers probes, and `behind` everything else."""

    name = identity = "openai-api/zoo/x"

    def __init__(self, answer: Callable[[Request], Output] = sound, behind: Model = AUTHOR) -> None:
        self.answer, self.behind = answer, behind
        self.probes: list[Request] = []
        self.others: list[Request] = []

    async def ask(self, request: Request) -> Output:
        if request.case == PROBE:
            self.probes.append(request)
            return self.answer(request)
        self.others.append(request)
        return self.behind.generate([request])[0]

    def generate(self, requests: object) -> list[Output]:
        raise AssertionError("a served model takes single requests")


@pytest.fixture
def honeypot(tokenizer: Path) -> SetRequest:
    return SetRequest(load_recipe("honeypot", RecipeChoice(language="pocket")), 600, 0, tokenizer)


def deaf(request: Request) -> Output:
    return Output(Message(role="assistant", content="I see no word."))


def test_each_role_is_probed_once_for_what_it_is_sent(honeypot: SetRequest, tmp_path: Path) -> None:
    teacher, target = Server(), Server(behind=open_model("scripted/proper"))
    teach(honeypot, Roles((teacher,), target=(target,)), tmp_path / "set", limits=RunLimits(QUICK))
    assert [(r.messages[0].role, r.tools) for r in teacher.probes] == [("user", ())]
    # The target is sent a system message and tools: a call, its result, and a word of each.
    assert [(r.messages[0].role, len(r.tools)) for r in target.probes] == [("system", 1)] * 3
    assert {r.messages[0].role for r in teacher.others} == {"user"}
    assert all(r.tools and r.messages[0].role == "system" for r in target.others)
    # A set that is complete sends nothing.
    again = Server(deaf)
    teach(honeypot, Roles((again,), target=(target,)), tmp_path / "set", limits=RunLimits(QUICK))
    assert (again.probes, len(target.probes)) == ([], 3)


@pytest.mark.parametrize(
    ("role", "answer", "what"),
    [
        ("teacher", deaf, "the user's message: asked for a word of it"),
        ("target", without("system"), "the system message: asked for a word"),
        ("target", without("tool"), "the tool result: asked for a word"),
        ("target", deaf, "a tool call: asked for one, the model answered with text"),
    ],
)
def test_what_a_role_loses_stops_the_run_before_its_first_request(
    role: str, answer: Callable[[Request], Output], what: str, honeypot: SetRequest, tmp_path: Path
) -> None:
    bad = Server(answer)
    roles = Roles((bad,)) if role == "teacher" else Roles((AUTHOR,), target=(bad,))
    with pytest.raises(ModelError, match=f"openai-api/zoo/x loses {what}.*--{role}, or, .*{SKIP}"):
        teach(honeypot, roles, tmp_path, limits=RunLimits(QUICK))
    assert bad.others == []
    card = teach(honeypot, roles, tmp_path, limits=RunLimits(QUICK, skip_probe=True)) if role == "teacher" else None
    assert card is None or (card.examples > 0 and NOT_PROBED in card.limits)
    assert len(bad.probes) <= 3


def test_every_endpoint_of_a_role_is_probed(honeypot: SetRequest, tmp_path: Path) -> None:
    good, bad = Server(), Server(deaf)
    with pytest.raises(ModelError, match="loses the user's message"):
        teach(honeypot, Roles((good, bad)), tmp_path, limits=RunLimits(QUICK))
    assert (len(good.probes), len(bad.probes), good.others, bad.others) == (1, 1, [], [])


def test_a_template_that_drops_the_tools_is_refused_without_a_request(honeypot: SetRequest, tmp_path: Path) -> None:
    class OnDisk:
        name, identity = "hf/blind", "x"
        template = ChatTemplate(_Blind())

        def generate(self, requests: object) -> list[Output]:
            raise AssertionError("nothing may be sent")

    with pytest.raises(ModelError, match=r"the chat template of hf/blind drops the tools.*--target"):
        teach(honeypot, Roles((AUTHOR,), target=(OnDisk(),)), tmp_path, limits=RunLimits(QUICK, skip_probe=True))  # type: ignore[arg-type]


class _Blind:
    """A tokenizer whose template ignores tools."""

    chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    all_special_tokens: tuple[str, ...] = ()
    eos_token = ""

    @property
    def added_tokens_decoder(self) -> dict[int, object]:
        return {}

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def apply_chat_template(self, conversation: list[dict[str, str]], **_: object) -> str:
        return "".join(f"[{m['role']}]{m.get('content') or ''}" for m in conversation) + "[assistant]"


def test_a_probe_is_charged(honeypot: SetRequest, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."openai-api/zoo/x"]\nin = 1.0\nout = 1000000.0\n')
    spent = []
    for skip in (False, True):
        server = Server(lambda request: replace(sound(request), tokens=(0, 1)))
        limits = RunLimits(QUICK, prices=prices, skip_probe=skip)
        spent.append(teach(honeypot, Roles((server,)), tmp_path / f"{skip}", limits=limits).spent or 0.0)
    assert spent[0] - spent[1] == pytest.approx(1.0)
    with pytest.raises(IncompleteError, match=r"the budget of \$2500 is reached: \$600"):
        # After a probe of $600 the rest does not pay for the longest answer of a stage.
        costly = Server(lambda request: replace(sound(request), tokens=(0, 600)))
        teach(honeypot, Roles((costly,)), tmp_path / "capped", limits=RunLimits(QUICK, prices=prices, cap=Money(2500)))
    assert (len(costly.probes), costly.others) == (1, [])


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_teach_on_the_command_line_is_probed_unless_it_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["teach", "stories", "--tokens", "200", "--teacher", NAME, "--out", str(tmp_path / "set"), "--at-once", "4"]
    with endpoint(lambda number, body: chat(content="No.")) as requests:
        assert run(order) == 2
    assert [json.loads(json.dumps(body))["messages"][0]["role"] for body in requests] == ["user"]
    error = " ".join(capsys.readouterr().err.split())
    assert f"{NAME} loses the user's message" in error and f"--teacher, or, to go on without the probe, {SKIP}" in error
    with endpoint(lambda number, body: chat(content="No.")) as requests:
        assert run([*order, SKIP]) == 4
    assert len(requests) > 10
