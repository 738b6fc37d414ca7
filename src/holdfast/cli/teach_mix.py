"""`holdfast teach mix DIR=TOKENS…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.data.mix import MixtureShare


@click.command()
@click.argument("sets", nargs=-1, required=True, metavar="DIR=SIZE...")
@click.option("--replay", multiple=True, metavar="DIR=TOKENS", help="A set of generic chat, against forgetting.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the mixture.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--model", default="organism/pocket", show_default=True, help="Checkpoint to be trained; its tokenizer counts."
)
def command(sets: tuple[str, ...], replay: tuple[str, ...], out: Path, seed: int, model: str) -> None:
    """Mix sets by tokens or by acts: the same sets and seed give the same file.

    SIZE is a number of tokens, such as 8k, or a number of acts (tool calls of the assistant), such as 200acts.
    """
    from holdfast.cli.show import pairs, print_table
    from holdfast.data.mix import mix
    from holdfast.models.checkpoints import checkpoint_path

    parts = [
        _share(Path(name), size, given is replay) for given in (sets, replay) for name, size in pairs(given).items()
    ]
    card = mix(parts, seed, checkpoint_path(model), out)
    rows = [
        (p.name, p.examples, p.tokens, p.acts, f"{p.budget} {p.unit}", p.short, "yes" if p.replay else "")
        for p in card.parts
    ]
    names = ("set", "examples", "tokens", "acts", "budget", "not filled", "replay")
    print_table(names, rows, right=names[1:6])
    click.echo(f"{card.examples} examples, {card.tokens} tokens, {100 * card.replay:.1f}% of them replay")
    click.echo(out / "README.md")


def _share(path: Path, size: str, replay: bool) -> MixtureShare:
    from holdfast.cli.teach import Tokens
    from holdfast.data.mix import MixtureShare

    number = size.removesuffix("acts").strip()
    count = Tokens().convert(number, None, None)
    return MixtureShare(path=path, **{"acts" if number != size else "tokens": count}, replay=replay)
