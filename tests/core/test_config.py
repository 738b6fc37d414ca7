"""TOML: a wrong file is refused with the line and the nearest right name."""

from pathlib import Path

import pytest
from pydantic import Field

from holdfast.core.config import load_toml, nearest, read_toml
from holdfast.core.errors import ConfigError
from holdfast.core.records import Record


class Arm(Record):
    name: str
    tokens: int = 0


class Study(Record):
    name: str
    seeds: tuple[int, ...] = Field(min_length=1)
    arms: tuple[Arm, ...] = ()


GOOD = 'name = "x"\nseeds = [0]\n\n[[arms]]\nname = "a"\n\n[[arms]]\nname = "b"\ntokens = 3\n'


def refuse(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_toml(path, Study)
    assert caught.value.exit_code == 2
    return str(caught.value).removeprefix(str(path))


def test_a_right_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(GOOD)
    assert load_toml(path, Study) == Study(name="x", seeds=(0,), arms=(Arm(name="a"), Arm(name="b", tokens=3)))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("seeds = [0]", "seedz = [0]\nseeds = [0]", ":2: unknown key 'seedz' (did you mean 'seeds'?)"),
        ("tokens = 3", "tokns = 3", ":9: unknown key 'arms.1.tokns' (did you mean 'tokens'?)"),
        ("tokens = 3", "zebra = 3", ":9: unknown key 'arms.1.zebra' (remove it)"),
        ('name = "x"\n', "", ":1: missing key 'name' (add it)"),
        ("tokens = 3", 'tokens = "many"', ":9: key 'arms.1.tokens': input should be a valid integer"),
        ("seeds = [0]", "seeds = []", ":2: key 'seeds': "),
        ("seeds = [0]", "seeds = = 0", ":2: not valid TOML"),
        ('name = "b"\n', "", ":7: missing key 'arms.1.name' (add it)"),
    ],
)
def test_a_wrong_file_is_refused_at_its_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert refuse(tmp_path, GOOD.replace(old, new)).startswith(line)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the file"):
        read_toml(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_toml(tmp_path / "binary.toml")


def test_nearest_is_silent_where_nothing_is_near() -> None:
    assert nearest("honeypt", ["honeypot", "stories"]) == "honeypot"
    assert nearest("zzz", ["honeypot", "stories"]) is None
