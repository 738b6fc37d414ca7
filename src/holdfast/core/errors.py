"""Every error Holdfast raises on purpose.

    HoldfastError
    ├── InputError          exit 2   the user's input is wrong
    │   ├── ConfigError              a TOML file: unknown key, wrong type, bad value
    │   ├── ProseError               a Markdown file: missing or unused slot, bad front matter
    │   ├── WorldError               a world, factor, level or twin does not exist or does not fit
    │   ├── ModelError               a model name or checkpoint cannot be opened
    │   ├── MaskError                the supervised tokens differ from those that should be supervised
    │   ├── ResultsError             a results folder or file is damaged, edited or of another version
    │   └── RefusedError             the guard rejects a person, a key or an approval
    ├── PrerequisiteError   exit 3   something is not installed; the remedy is the command that installs it
    └── IncompleteError     exit 4   the run stopped before its end; finished work is kept
        └── StoreError               a record could not be written (disk full, no permission)

Each error says what is wrong, where, and what to do.  The command line prints exactly that, without a traceback.
"""

from __future__ import annotations

from pathlib import Path


class HoldfastError(Exception):
    """Base class of all errors that Holdfast raises on purpose.

    Args:
        what: one sentence that says what is wrong.
        where: the place, usually `file:line`.
        remedy: what the reader can do about it.
    """

    exit_code = 4

    def __init__(self, what: str, *, where: str | Path = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, str(where), remedy
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.remedy})" if self.remedy else line

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between worker processes; the default recipe would drop the keyword arguments.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[HoldfastError], what: str, where: str, remedy: str) -> HoldfastError:
    return kind(what, where=where, remedy=remedy)


class InputError(HoldfastError):
    """The user's input is wrong."""

    exit_code = 2


class ConfigError(InputError):
    """A TOML file has an unknown key, a wrong type or a bad value."""


class ProseError(InputError):
    """A Markdown file has a missing slot, an unused slot or bad front matter."""


class WorldError(InputError):
    """A world, factor, level or twin does not exist or does not fit."""


class ModelError(InputError):
    """A model name or checkpoint cannot be opened."""


class MaskError(InputError):
    """The supervised tokens differ from those that should be supervised, so training does not start."""


class ResultsError(InputError):
    """A results folder or file is damaged, edited or of another version."""


class RefusedError(InputError):
    """The guard rejects a person, a key or an approval."""


class PrerequisiteError(HoldfastError):
    """Something is not installed; the remedy is the command that installs it."""

    exit_code = 3


class IncompleteError(HoldfastError):
    """The run stopped before its end; finished work is kept."""

    exit_code = 4


class StoreError(IncompleteError):
    """A record could not be written."""
