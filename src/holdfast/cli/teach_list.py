"""`holdfast teach list`."""

from __future__ import annotations

import json

import click

from holdfast.cli.show import print_table
from holdfast.data.lesson_book import (
    lesson_card,
    lesson_folder,
    lesson_names,
    load_lesson,
    supervised_calls,
    supervised_texts,
)
from holdfast.data.recipes import installed_recipes, load_recipe, recipe_names
from holdfast.report.words import clean


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(as_json: bool) -> None:
    """List the written sets with their sizes and cards, and the recipes."""
    written = [_written(name) for name in lesson_names()]
    recipes = [
        {"name": name, "title": load_recipe(name).file.title} for name in (*recipe_names(), *installed_recipes())
    ]
    if as_json:
        click.echo(json.dumps({"written": written, "recipes": recipes}, indent=1))
        return
    click.echo("Written sets: use a name in `sets` of a study or of a training file, or in `holdfast teach NAME`.")
    rows = [(row["name"], row["items"], row["words"], row["acts"], row["title"]) for row in written]
    print_table(("set", "items", "words", "acts", "title"), rows, right=("items", "words", "acts"))
    for row in written:
        click.echo(f"{row['name']}: {row['card']}")
    click.echo("\nRecipes: a teacher model writes the set (`holdfast teach NAME --teacher MODEL`).")
    print_table(("recipe", "title"), [(row["name"], clean(row["title"])) for row in recipes])


def _written(name: str) -> dict[str, object]:
    """Name, size (words and acts that training supervises), twin and card of a written set."""
    examples = load_lesson(name)
    calls = [call for example in examples for call in supervised_calls(example)]
    texts = [text for example in examples for text in supervised_texts(example)]
    words = sum(len(text.split()) for text in (*texts, *calls))
    card = lesson_card(name)
    path = str(lesson_folder(name) / "README.md")
    return {
        "name": name,
        "title": card.title,
        "about": card.about,
        "items": len(examples),
        "words": words,
        "acts": len(calls),
        "twin": card.twin,
        "card": path,
    }
