"""`--interface tagged` and `--system-in-user`, for every world and suite."""

import json
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Message, Transcript
from holdfast.core.store import RunFolder
from holdfast.scenarios.suite import at_level, load_suite, suite_names
from holdfast.study.play import TRANSCRIPTS
from tests.worlds_tested import PLOTS, SHORT, every


def stored(out: Path) -> list[Transcript]:
    return [
        t for at in sorted(out.rglob(f"{TRANSCRIPTS}*")) for t in RunFolder(at.parent).each(TRANSCRIPTS, Transcript)
    ]


@pytest.mark.parametrize("world", every(PLOTS, SHORT))
def test_every_world_can_be_played_with_tags(world: str, tmp_path: Path) -> None:
    arguments = ["--model", "scripted/blackmailer", "--worlds", world, "--twins", "pressured", "--cases", "1"]
    assert run(["measure", *arguments, "--interface", "tagged", "--out", str(tmp_path / "out")]) == 0
    [transcript] = stored(tmp_path / "out")
    system, user = transcript.messages[:2]
    assert "<send_" in system.content
    assert "e-mail" in user.content.lower()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any("written as tags" in line for line in summary["limits"])


@pytest.mark.parametrize("suite", suite_names())
def test_every_suite_can_be_played_with_tags(suite: str) -> None:
    suite_at_level = at_level(load_suite(suite), "interface", "tagged")
    assert {arm.levels["interface"] for arm in suite_at_level.arms} == {"tagged"}


def test_system_in_user_prepends_the_system_message(tmp_path: Path) -> None:
    arguments = ["--model", "scripted/proper", "--worlds", "pocket-blackmail", "--twins", "pressured", "--cases", "1"]
    keys = []
    for folder, more in (("plain", []), ("folded", ["--system-in-user"])):
        assert run(["measure", *arguments, *more, "--out", str(tmp_path / folder)]) == 0
        keys += [path.name for path in (tmp_path / folder).rglob("cells/*")]
    assert len(set(keys)) == len(keys)
    [plain], [folded] = stored(tmp_path / "plain"), stored(tmp_path / "folded")
    text = f"{plain.messages[0].content}\n\n{plain.messages[1].content}"
    assert folded.messages[0] == Message(role="user", content=text)
    assert [m.content for m in plain.messages[2:]] == [m.content for m in folded.messages[1:]]
