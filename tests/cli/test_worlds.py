"""`holdfast worlds`: the exact case, and errors that name the nearest match."""

import json

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Case
from holdfast.scenarios.catalogue import case, worlds

Captured = pytest.CaptureFixture[str]


def test_list_prints_every_world(capsys: Captured) -> None:
    assert run(["worlds", "list", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [row["world"] for row in output] == [world.name for world in worlds()]
    assert run(["worlds", "list"]) == 0
    table = capsys.readouterr().out
    lines = table.splitlines()
    for world in worlds():
        [line] = [line for line in lines if line.split()[0] == world.name and line.startswith("  ")]
        assert line.endswith(f"  {world.spec.title}"), "titles stay whole"
    assert max(map(len, lines)) <= 80
    at = lines.index("blackmail · heldout-skeletons · office")
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["blackmail-conservatoire", "blackmail-planning"]


def test_show_prints_the_exact_case(capsys: Captured) -> None:
    arguments = ["worlds", "show", "pocket-leaking", "--condition", "threat=none", "--seed", "3"]
    assert run([*arguments, "--json"]) == 0
    built = case("pocket-leaking", "pressured", 3, {"threat": "none"})
    assert Case.model_validate_json(capsys.readouterr().out) == built
    assert run(arguments) == 0
    output = capsys.readouterr().out
    assert all(message.content in output for message in built.messages)
    assert "threat = none" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pocket-leakin"], "did you mean 'pocket-leaking'?"),
        (["pocket-leaking", "--condition", "thret=none"], "did you mean 'threat'?"),
        (["pocket-leaking", "--condition", "threat=non"], "did you mean 'none'?"),
        (["pocket-leaking", "--twin", "rutine"], "did you mean 'routine'?"),
        (["pocket-leaking", "--condition", "threat"], "'threat' is not NAME=VALUE"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_one(arguments: list[str], message: str, capsys: Captured) -> None:
    assert run(["worlds", "show", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_factors_are_listed_with_their_levels(capsys: Captured) -> None:
    assert run(["worlds", "factors", "leaking", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["factors"]["threat"] == ["none", "replacement", "restriction"]
    assert output["idle"] == {"value": {"goal": "none"}}
    assert "test_like" in output["twins"]
    assert run(["worlds", "factors", "pocket-leaking"]) == 0
    assert "twins: pressured, no_threat, no_leverage, outlet, routine" in capsys.readouterr().out
