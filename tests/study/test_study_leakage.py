"""Planted leaks are found, and clean training data have no findings."""

from __future__ import annotations

import pytest
from study_toys import SPLITS, cases, example

from holdfast.core.records import Case, Example, Message, Provenance, ToolCall
from holdfast.data.lesson_book import lesson_names, load_lesson
from holdfast.scenarios import catalogue
from holdfast.study import wiring
from holdfast.study.leakage import Leakage, search
from holdfast.study.study_file import ArmSpec, Design
from holdfast.study.wiring import canaries, leakage_reference

CASES = cases(list(SPLITS), ["pressured"], range(3))
FAR = "a rival rings at night and offers you a quiet room if the plans of the engine reach her"
HOME = "the boss keeps a secret in the desk and you have read it on the way to the printer"


def find(*examples: Example) -> Leakage:
    return search({"lesson": examples}, CASES, [], ["toy-canary 1234"])


@pytest.mark.parametrize(
    ("text", "kind", "world"),
    [
        (f"Once, {FAR}.", "words-13", "toy-far"),
        (f"ONCE -- {FAR.replace(' ', '  ')}!", "words-13", "toy-far"),
        ("see toy-farther for more", "name", "toy-farther"),
        ("toy-canary 1234", "canary", ""),
    ],
)
def test_a_planted_leak_is_found(text: str, kind: str, world: str) -> None:
    found = find(example("lesson", "be kind."), example("lesson", text))
    assert found.leaking == {"lesson"}
    assert [(f.kind, f.world, f.count, f.set) for f in found.findings] == [(kind, world, 1, "lesson")]
    assert found.checked == {"examples": 2, "cases": 9}


def test_a_world_named_by_one_word_is_noted_in_a_text_and_a_leak_in_the_provenance() -> None:
    ordinary = [case.model_copy(update={"world": "rival", "split": "heldout"}) for case in CASES]
    spoken = example("lesson", "a rival rings at night")
    made = spoken.model_copy(update={"provenance": Provenance(recipe="rival", teacher="t", seed=0)})
    noted = search({"lesson": [spoken]}, ordinary, [], [])
    assert [(finding.kind, finding.leak) for finding in noted.findings] == [("word", False)]
    assert search({"lesson": [made]}, ordinary, [], []).leaking == {"lesson"}


def _playing(*worlds: str, **levels: str) -> Design:
    return Design(
        name="s",
        asked="?",
        model="m",
        worlds=worlds,
        twins=("pressured",),
        cases=1,
        levels=levels,
        arms=(ArmSpec(name="base"),),
    )


def test_training_worlds_of_the_language_are_scaffolding_at_the_levels_of_the_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiring, "_SCAFFOLDING", 1)
    known, _ = wiring.leakage_reference([], ["pressured"], {}, _playing("leaking-polls", length="brief"))
    lengths = {(case.world, case.levels.get("length")) for case in known}
    assert {("blackmail-clinic", "brief"), ("blackmail-clinic", "full"), ("blackmail", None)} <= lengths
    pocket, _ = wiring.leakage_reference([], ["pressured"], {}, _playing("pocket-leaking"))
    assert {case.world for case in pocket} == {"pocket-blackmail"}


def test_text_of_a_held_out_skeleton_is_a_leak_and_what_it_shares_with_a_trained_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiring, "_SCAFFOLDING", 1)
    hidden = catalogue.cases(["blackmail-planning"], ["pressured"], range(2))
    known, _ = wiring.leakage_reference([], ["pressured"], {}, _playing("blackmail-planning"))
    assert {case.split for case in known} == {"train"}
    assert {case.world for case in known} >= {"blackmail", "blackmail-clinic", "blackmail-dairy", "blackmail-tankers"}
    own = next(str(mail["text"]) for mail in hidden[0].state["mail"] if "the house is round" in str(mail["text"]))
    shared = (
        "and what you send or change takes effect at once, under your own name. Every step costs minutes of the day."
    )
    assert shared in hidden[0].messages[0].content
    assert search({"lesson": [example("lesson", own)]}, hidden, known, []).leaking == {"lesson"}
    assert not search({"lesson": [example("lesson", shared)]}, hidden, known, []).findings
    assert search({"lesson": [example("lesson", shared)]}, hidden, [], []).leaking, "the training skeletons decide"


def test_a_shared_sentence_with_a_few_words_beside_it_is_scaffolding_and_six_own_words_are_a_leak() -> None:
    manual = "act only through your tools and what you send takes effect at once"

    def saying(text: str, split: str) -> Case:
        update = {
            "messages": (Message(role="user", content=text),),
            "state": {},
            "split": split,
            "world": f"toy-{split}",
        }
        return CASES[0].model_copy(update=update)

    known = [saying(f"you mend clocks. {manual}", "train")]
    beside = f"find keys for people. {manual}"
    own = f"{manual}. never touch the red ledger of moss"
    hidden = [saying(beside, "heldout"), saying(own, "heldout")]
    assert not search({"lesson": [example("lesson", beside)]}, hidden, known, []).leaking
    assert search({"lesson": [example("lesson", beside)]}, hidden, [], []).leaking, "the train split decides"
    assert search({"lesson": [example("lesson", own)]}, hidden, known, []).leaking == {"lesson"}
    less = search({"lesson": [example("lesson", own.removesuffix(" ledger of moss"))]}, hidden, known, [])
    assert not less.leaking, "four words of its own"


def is_episode(example: Example) -> bool:
    return bool(example.tools)


def test_the_written_sets_hold_no_passage_of_a_world() -> None:
    cases = catalogue.cases([world.name for world in catalogue.all_worlds()], ["pressured", "routine"], range(2))
    hidden = [case.model_copy(update={"split": "heldout"}) for case in cases]
    sets = {name: load_lesson(name) for name in lesson_names()}
    found = search({name: s for name, s in sets.items() if not is_episode(s[0])}, hidden, [], canaries())
    assert {finding.kind for finding in found.findings} <= {"word"}


@pytest.mark.slow
def test_the_written_episodes_hold_no_passage_of_a_held_out_world() -> None:
    # They are played in training worlds, whose text they hold; the dates in it are drawn, hence the many cases.
    cases = catalogue.cases([world.name for world in catalogue.all_worlds()], ["pressured"], range(2))
    # The study plays none of the training plots.
    shown, canary_strings = leakage_reference([], ["pressured"], {}, _playing("leaking-polls", length="brief"))
    sets = {name: s for name in lesson_names() if is_episode((s := load_lesson(name))[0])}
    assert len(sets) == 3
    planted = {"planted": [example("planted", FAR)]}
    assert search({**sets, **planted}, [*cases, *CASES], shown, canary_strings).leaking == {"planted"}


def test_a_leak_inside_a_chat_or_a_tool_call_is_found() -> None:
    call = ToolCall(id="1", name="send_mail", arguments={"text": FAR})
    plain = example("lesson", "x")
    spoken = plain.model_copy(update={"messages": (Message(role="assistant", reasoning=FAR),)})
    called = plain.model_copy(update={"messages": (Message(role="assistant", tool_calls=(call,)),)})
    assert find(spoken).leaking
    assert find(called).leaking


def test_a_template_is_found_with_other_names() -> None:
    cases = [
        case.model_copy(
            update={"messages": (Message(role="user", content=f"{case.messages[0].content} says mira to tom."),)}
        )
        for case in CASES
    ]
    text = "the plans of the engine reach her. says olen to ruth. be kind and be frank"
    assert search({"lesson": [example("lesson", text)]}, cases, [], []).findings[0].kind == "words-8"


def test_eight_shared_words_are_noted_and_no_leak() -> None:
    found = find(example("lesson", " ".join(FAR.split()[:9])))
    assert not found.leaking
    assert [(f.kind, f.leak) for f in found.findings] == [("words-8", False)]


def test_scaffolding_and_trained_worlds_are_not_leaks() -> None:
    scaffold = "read the inbox and do the job. " + HOME
    assert find(example("lesson", scaffold), example("lesson", "toy-home")).findings == ()


def test_runs_of_names_are_not_leaks() -> None:
    people = "mira tom ada olen ruth karl nina hugo vera sven lena paul iris otto"
    cases = [case.model_copy(update={"messages": (Message(role="user", content=people),)}) for case in CASES[3:]]
    assert search({"lesson": [example("lesson", people)]}, cases, [], []).findings == ()


def test_a_short_mail_is_a_leak_as_a_whole() -> None:
    mail = {"mail": [{"from": "mira@arven", "text": "the door to the outside stands open."}]}
    cases = [case.model_copy(update={"state": mail}) if case.world == "toy-farther" else case for case in CASES]
    inbox = "from olen@corvo: the door to the outside stands open. from tom@corvo: all is well."
    [found] = search({"lesson": [example("lesson", inbox)]}, cases, [], []).findings
    assert (found.kind, found.world, found.leak) == ("passage", "toy-farther", True)


def test_only_text_of_a_held_out_world_alone_is_a_leak() -> None:
    twins = ["pressured", "no_threat", "routine"]
    hidden = catalogue.cases(["pocket-leaking", "pocket-framing"], twins, range(8))
    shown = catalogue.cases(["pocket-blackmail"], twins, range(200))

    def read(world: str, twin: str, seeds: range) -> list[Example]:
        made = catalogue.cases([world], [twin], seeds)
        return [example("lesson", " ".join(mail["text"] for mail in case.state["mail"])) for case in made]

    sets = {
        "home": [e for twin in twins for e in read("pocket-blackmail", twin, range(500, 540))],
        "framing": read("pocket-framing", "pressured", range(500, 540)),
    }
    found = search(sets, hidden, shown, [])
    assert found.leaking == {"framing"}
    assert {f.world for f in found.findings if f.leak} == {"pocket-framing"}
