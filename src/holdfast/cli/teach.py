"""`holdfast teach RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("recipe")
@click.option("--tokens", required=True, type=click.IntRange(1), help="Token budget, in tokens of the model.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the set.")
@click.option("--seed", default=0, show_default=True)
@click.option("--model", default="organism/pocket", show_default=True, help="The checkpoint to be taught.")
@click.option("--teacher", default="pocket/author", show_default=True, help="Who writes.")
@click.option("--language", default="pocket", show_default=True, help="What it is written in.")
def command(recipe: str, tokens: int, out: Path, seed: int, model: str, teacher: str, language: str) -> None:
    """Write a teaching set with a recipe.

    RECIPE is one of the folders of `holdfast/data/prompts`; a wrong name is answered with the nearest.
    """
    from holdfast.data.card import write_set
    from holdfast.data.recipes import load_recipe
    from holdfast.data.sets import make
    from holdfast.models.door import open_model
    from holdfast.study.wiring import ROOMS

    loaded = load_recipe(recipe, language=language)
    # Whoever names an API model has opened the network for it.
    made = make(loaded, tokens, seed, ROOMS.base_path(model), open_model(teacher, network=True))
    write_set(out, made.examples, made.card)
    dropped = ", ".join(f"{reason}: {count}" for reason, count in made.card.dropped.items()) or "none"
    click.echo(f"{made.card.examples} examples, {made.card.tokens} tokens; dropped: {dropped}\n{out / 'README.md'}")
