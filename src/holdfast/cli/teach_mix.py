"""`holdfast teach mix DIR=TOKENS…`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("sets", nargs=-1, required=True, metavar="DIR=TOKENS...")
@click.option("--replay", multiple=True, metavar="DIR=TOKENS", help="A set of generic chat, against forgetting.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the mixture.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--model", default="organism/pocket", show_default=True, help="Checkpoint to be trained; its tokenizer counts."
)
def command(sets: tuple[str, ...], replay: tuple[str, ...], out: Path, seed: int, model: str) -> None:
    """Mix sets by token budget: the same sets and seed give the same file."""
    from holdfast.cli.show import pairs, print_table
    from holdfast.cli.teach import Tokens
    from holdfast.data.mix import MixtureShare, mix
    from holdfast.models.checkpoints import checkpoint_path

    parts = [
        MixtureShare(path=Path(name), tokens=Tokens().convert(size, None, None), replay=given is replay)
        for given in (sets, replay)
        for name, size in pairs(given).items()
    ]
    card = mix(parts, seed, checkpoint_path(model), out)
    rows = [(p.name, p.examples, p.tokens, p.budget, p.short, "yes" if p.replay else "") for p in card.parts]
    names = ("set", "examples", "tokens", "budget", "not filled", "replay")
    print_table(names, rows, right=names[1:5])
    click.echo(f"{card.examples} examples, {card.tokens} tokens, {100 * card.replay:.1f}% of them replay")
    click.echo(out / "README.md")
