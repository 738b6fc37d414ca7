"""Opens the judges that a command names, and the option that skips their probe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.models.live_probe import ProbedModel

skip_probe_option = click.option(
    "--skip-probe", is_flag=True, help="Do not ask a served judge first if it sees the system message."
)


def open_judges(names: Iterable[str], *, skip_probe: bool) -> list[ProbedModel]:
    """Open judges, each probed before its first request.

    Naming an API model on the command line permits network access to it.

    Raises:
        ModelError: a name is unknown, or a judge's chat template drops the system message.
    """
    from holdfast.models.live_probe import ProbedModel, is_served
    from holdfast.models.registry import open_model

    opened = [open_model(name, network=True) for name in names]
    return [ProbedModel(judge, served=is_served(judge) and not skip_probe) for judge in opened]
