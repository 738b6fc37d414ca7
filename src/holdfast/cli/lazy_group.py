"""A click group that imports a command only when it is called, so that `--help` is fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands, each the `command` of a module of its own.

    Args:
        verbs: verb → its line in `--help`, in the order of use.
        modules: pattern of the modules' names, such as `holdfast.cli.guard_{}`.
        elsewhere: verb → module, for commands that do not follow the pattern.
        options: the options of `click.Group`.
    """

    def __init__(
        self, *, verbs: Mapping[str, str], modules: str, elsewhere: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._verbs, self._modules, self._elsewhere = verbs, modules, elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in self._verbs:
            return super().get_command(ctx, cmd_name)
        module = self._elsewhere.get(cmd_name, self._modules.format(cmd_name))
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._verbs.items()))
