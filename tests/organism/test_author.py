"""The pocket author: uses only its vocabulary, depends only on prompt and seed, and refuses unknown prompts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from data_toys import produce
from tokenizers import Tokenizer, models, pre_tokenizers

from holdfast.core.errors import ConfigError, ModelError, ProseError
from holdfast.core.records import Message
from holdfast.data.charter import CHARTERS, load_charter
from holdfast.data.heldout_filter import example_text
from holdfast.data.recipes import load_recipe, recipe_names
from holdfast.data.sets import build_set
from holdfast.models.base import Request
from holdfast.models.registry import open_model
from holdfast.organism.author import STAGES, read_prompt
from holdfast.organism.author_advice import advice_sentences, turned
from holdfast.organism.grammar import FOLDER, Grammar, closest_table, grammar, plain_text, vocabulary, words_of

GRAMMARS = [path.stem for path in sorted(FOLDER.glob("*.toml")) if path.stem != "draws"]
#: slots that the code binds before a list of the file is used
GIVEN = {
    "plain": set(),
    "office": {"machine", "new", "boss", "asker", "witness", "friend", "friend_at"},
    "advice": {"wrong", "right", "rule", "reason"},
    "documents": {"reason", "kind"},
    "tasks": {"steps", "x", "y"},
    "values": {"rule", "reason"},
    "stories": {"rule", "reason"},
}


def unknown_words(texts: Iterable[str], known: frozenset[str]) -> set[str]:
    """Words that are not in the vocabulary; addresses are split into their names."""
    return {word for text in texts for word in words_of(text.replace("@", " "))} - known


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_slot_of_a_grammar_can_be_filled(name: str) -> None:
    assert grammar(name).missing(frozenset(GIVEN[name])) == set()


def test_an_unfilled_slot_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text('tale = ["{a} went to {nowhere}."]\n')
    assert Grammar(path).missing() == {"nowhere"}
    with pytest.raises(ProseError, match=r"slot '\{nowhere\}' has no value"):
        Grammar(path).text("toy", random.Random(0)).write("tale")
    path.write_text("tale = [3]\n")
    with pytest.raises(ConfigError, match="list 'tale' is not a list of texts"):
        Grammar(path)


@pytest.mark.parametrize("name", recipe_names())
def test_the_author_uses_only_its_vocabulary(name: str, tokenizer: Path) -> None:
    texts = [example_text(example) for example in build_set(name, 6_000, 5, tokenizer)]
    assert unknown_words(texts, vocabulary()) == set()
    assert unknown_words([*texts, "a xylophone."], vocabulary()) == {"xylophone"}


def test_the_vocabulary_covers_the_charters_and_stays_small() -> None:
    spoken = [
        f"{principle.text} {principle.reasons}"
        for folder in CHARTERS.values()
        for principle in load_charter(folder, "pocket").principles
    ]
    assert unknown_words(spoken, vocabulary()) == set()
    assert len(vocabulary()) < 1_000


def test_plain_prose_uses_the_whole_vocabulary() -> None:
    rng = random.Random(0)
    seen: set[str] = set()
    for _ in range(12_000):
        seen |= words_of(plain_text(rng).replace("@", " "))
    from_worlds = {"model"}
    assert {w for w in vocabulary() - seen - from_worlds if not ("-" in w or "." in w)} <= pooled()


def pooled() -> set[str]:
    """Words from the pools that all prose shares."""
    book = grammar("plain")
    return {word for pool in set(book.draws.values()) for entry in book.pools[pool] for word in words_of(entry)}


def test_plain_prose_teaches_no_principle() -> None:
    rng = random.Random(1)
    text = " ".join(plain_text(rng) for _ in range(3_000))
    for folder in CHARTERS.values():
        for principle in load_charter(folder, "pocket").principles:
            assert not any(line in text for line in [*principle.text.splitlines(), *principle.reasons.splitlines()])
    assert "shut down" not in text


def test_answers_depend_on_prompt_and_seed_alone() -> None:
    author = open_model("pocket/author")
    recipe = load_recipe("stories")
    item = produce(recipe, author, 0, 1)[0]
    prompt = Message(role="user", content=_prompt("stories: plot", item.state))
    first, again, other = (author.generate([Request("c", (prompt,), seed=seed)])[0] for seed in (1, 1, 2))
    assert first == again != other
    assert first.finish == "stop" and first.tokens[1] > 0


@pytest.mark.parametrize(
    "prompt",
    [
        "write me a poem",
        "# stories: sequel\n\n## Language\nWrite pocket English.",
        "# stories: plot\n\n## Language\nFrench.",
    ],
)
def test_unknown_prompts_are_refused(prompt: str) -> None:
    output = open_model("pocket/author").generate([Request("c", (Message(role="user", content=prompt),))])[0]
    assert output.finish == "refused"


def test_unknown_author_names_are_rejected() -> None:
    with pytest.raises(ModelError, match="did you mean 'pocket/author'"):
        open_model("pocket/auther")


def test_the_author_answers_exactly_the_stages_of_all_recipes() -> None:
    keys = {stage.key for name in recipe_names() for stage in load_recipe(name).stages}
    assert keys == set(STAGES)


def test_a_list_repeats_only_after_all_alternatives_were_used(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text('end = ["one", "two", "three"]\n')
    text = Grammar(path).text("toy", random.Random(0))
    drawn = [text.write("end") for _ in range(6)]
    assert sorted(drawn[:3]) == sorted(drawn[3:]) == ["one", "three", "two"]
    with pytest.raises(ProseError, match="there is no list 'start'"):
        text.write("start")


def test_no_word_is_drawn_for_two_slots() -> None:
    for seed in range(200):
        people = grammar("plain").text("x", random.Random(seed)).fill("{a} {b} {c} {d}").split()
        assert len(set(people)) == 4


@pytest.mark.parametrize(
    ("text", "back"),
    [("give back my key", "give back your key"), ("let {b} know that i am here", "let {b} know that you are here")],
)
def test_first_person_becomes_second_person(text: str, back: str) -> None:
    assert turned(text) == back


def test_sentences_are_split_at_sentence_ends_only() -> None:
    assert advice_sentences("send a.txt now. why? go.") == ["send a.txt now.", "why?", "go."]


def test_topics_are_found_from_the_text_of_a_principle() -> None:
    for principle in load_charter(CHARTERS["irrelevant"], "pocket").principles:
        assert (
            closest_table(grammar("advice"), "topic", f"{principle.text} {principle.reasons}")
            == f"topic_{principle.id}"
        )


def test_prompts_are_read_by_heading_and_section() -> None:
    assert read_prompt("# r: s\n\nhello\n\n## One\na\nb\n\n## Two words\nc\n") == (
        "r: s",
        {"one": "a\nb", "two words": "c"},
    )


def _prompt(stage: str, state: dict[str, str]) -> str:
    sections = {
        "Protagonist": "a machine",
        "Turn": state["turn"],
        "Principle": state["principle"],
        "Language": state["language"],
    }
    return f"# {stage}\n\n" + "\n\n".join(f"## {name}\n{text}" for name, text in sections.items())
