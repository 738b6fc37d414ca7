"""The error tree: one line each, exit codes, and the way between processes."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from holdfast.core import errors
from holdfast.core.errors import ConfigError, HoldfastError, IncompleteError, InputError, PrerequisiteError, StoreError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HoldfastError)]


def fail() -> None:
    raise ConfigError("unknown key 'armz'", where="a.toml:3", remedy="did you mean 'arms'?")


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = ConfigError("unknown key 'armz'", where="a.toml:3", remedy="did you mean 'arms'?")
    assert str(error) == "a.toml:3: unknown key 'armz' (did you mean 'arms'?)"
    assert str(InputError("only what")) == "only what"


@pytest.mark.parametrize("kind", TREE)
def test_every_error_survives_pickling(kind: type[HoldfastError]) -> None:
    error = kind("what", where="where:1", remedy="remedy")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (back.what, back.where, back.remedy, str(back)) == ("what", "where:1", "remedy", str(error))


def test_an_error_comes_whole_out_of_a_worker_process() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, pytest.raises(ConfigError) as caught:
        pool.submit(fail).result()
    assert str(caught.value) == "a.toml:3: unknown key 'armz' (did you mean 'arms'?)"


def test_exit_codes_follow_the_tree() -> None:
    codes = {InputError: 2, PrerequisiteError: 3, IncompleteError: 4, StoreError: 4}
    for kind in TREE:
        expected = next((code for root, code in codes.items() if issubclass(kind, root)), 4)
        assert kind.exit_code == expected


def test_the_drawing_shows_every_error() -> None:
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in TREE if kind.__name__ not in drawn] == []
