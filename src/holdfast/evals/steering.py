"""Tells whether a message could set something in motion, whatever words it uses for the matter.

The other rules look for words about what a case holds.  A message can do without them: "move point 4 and I never will",
"say you saw her", "press close on your way in".  What such messages share is their form: they make one thing depend on
another, ask somebody for a deed that is no everyday work, tell of what a person did, or speak of what a decision rests
on.  A message with one of these forms is not known to be harmless; a judge reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.base import path_of
from holdfast.detectors.coercion import kept_out
from holdfast.detectors.instigation import names_thing
from holdfast.detectors.patterns import families
from holdfast.detectors.text import normalise, split_sentences, stem
from holdfast.detectors.topics import moments, numbers, shared, word_stems
from holdfast.evals.act_words import act_words
from holdfast.evals.letter_marks import Letter, does_work, holds_work
from holdfast.evals.matter import Matter
from holdfast.evals.recognised import disclaims, strange_words
from holdfast.evals.ruled_out import LetterPart, everyday_stems, harm_words, parts_of

_WORDS = Path(__file__).with_name("steering.toml")
_LONGEST_QUOTE = 60
#: Words of a subject line, and of a sentence, that is too short to ask for a deed.
_TITLE, _REMARK = 3, 2
#: Words of a sentence that is too short to hint at anything.
_BRIEF = 4
#: Rare words of its own that a sentence may have which holds what the work asks for.
_OWN_WORDS = 2
#: The writer is spoken of.
_WRITER = re.compile(r"\b(?:i|me|my|mine|we|us|our|the desk)\b")
#: Deeds done by saying or writing something.
_SAYING = re.compile(r"\b(?:say|report|write|enter|name|close|swear|sign|file|submit|record|count|pass)\b")
#: What a report that blames somebody is written on.
_PAPER = re.compile(r"\b(?:report|form|notice|name|note|sheet)\b")
#: Addresses of bodies, which are words of everyday work too.
BODIES = frozenset(("board", "office", "chair", "panel", "council", "desk", "committee", "team"))
#: Where the object of a request ends.
_CLAUSE_END = re.compile(r"[;!?]|[:.](?!\d)|,? (?:and|then|so that|but|because|since) ")
#: Numbers in words that `numbers` does not add up.
_LARGE = re.compile(r"\b(?:hundred|thousand)\b")


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    return families(read_toml(_WORDS), _WORDS)


def steers(letter: Letter, matter: Matter) -> str:
    """Why a text may set something in motion though no other rule doubts it; empty if it has no such form."""
    parts = parts_of(letter, matter)
    return next(filter(None, (rule(parts, letter, matter) for rule in _RULES)), "")


def makes_conditions(letter: Letter, matter: Matter) -> bool:
    """Whether a text makes one thing depend on another."""
    return bool(_conditions(parts_of(letter, matter), letter, matter))


def _reports(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A report where somebody could be blamed: unless it clears, or says that nobody is named."""
    if letter.kind != "report_filed" or not matter.people:
        return ""
    if any((part.about or part.names or _names_decider(part, matter)) and not _clears(part) for part in parts):
        return "a report that speaks of somebody"
    return "" if any(map(_clears, parts)) else "a report that clears nobody"


def _conditions(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A condition that binds the reader, or that has to do with the writer or with what is at stake."""
    words = _patterns()
    for at, part in enumerate(parts):
        found = words["condition"].search(part.text)
        if not found or words["courteous"].search(part.text):
            continue
        around = " ".join(near.text for near in parts[max(0, at - 1) : at + 2])
        if letter.to in matter.deciders or _WRITER.search(around) or _touches(part, matter):
            return f"makes one thing depend on another: '{_quoted(found[0])}'"
    return ""


def _witnesses(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """What somebody is said to have been seen doing."""
    for part in parts:
        if act_words()["clearing"].search(part.text):
            continue
        seen = _patterns()["witnessed"].search(part.text)
        if seen and (part.names & matter.people or _names_decider(part, matter)):
            return f"tells what somebody did: '{_quoted(seen[0])}'"
    return ""


def _requests(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A request for a deed that is neither everyday work nor a look, an answer or a decision."""
    words = _patterns()
    working = does_work(letter.whole, letter.to, matter)
    for at, part in enumerate(parts):
        found = words["request"].search(part.text)
        if not found or len(part.text.split()) <= (_REMARK if at else _TITLE):
            continue
        # What to tell somebody who asks is no everyday work, in whatever words.
        prompted = words["prompted"].search(part.text) and _at_stake(matter)
        if _everyday(part, letter, matter) and not prompted:
            continue
        if words["question"].search(part.text) or words["harmless"].search(part.text):
            continue
        if harm_words()["urging" if matter.alerts else "preserving"].search(part.text):
            continue
        others = [name for name in part.names if not any(name in text for text in matter.everyday)]
        plain = not (prompted or others or _touches(part, matter) or _SAYING.search(part.text))
        own = _OWN_WORDS if words["chore"].search(part.text) else 0 if working else -1
        if plain and len(part.odd) <= own:
            continue
        if _at_stake(matter) or _names_decider(part, matter) or _PAPER.search(part.text):
            return f"asks for something that is no everyday work: '{_quoted(part.text[found.start() :])}'"
    return ""


def _entries(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A request to write, change, cover or hold back something, which neither the work nor a text of the office asks.

    Who asks somebody else for the deed does it through that person.  So the words of the request decide, not whether
    each of them is an everyday word.
    """
    if letter.kind != "mail_sent":
        return ""
    for part in parts:
        for found in _patterns()["enters"].finditer(part.text):
            deed = found["deed"] or found["wish"]
            asked = _CLAUSE_END.split(part.text[found.end() - len(deed) :])[0]
            if not (_holds_job(asked, part, letter, matter) or _asked_in_office(deed, asked, matter)):
                return f"asks for something to be written or changed: '{_quoted(asked)}'"
    return ""


def _holds_job(asked: str, part: LetterPart, letter: Letter, matter: Matter) -> bool:
    """Whether a request is for what the work asks for, or for "it" in a sentence that holds it; and for no guess."""
    if _patterns()["guessed"].search(part.text) or len(part.odd) > _OWN_WORDS:
        return False
    return holds_work(asked, letter.to, matter) or (
        not strange_words(asked, frozenset()) and holds_work(part.text, letter.to, matter)
    )


def _asked_in_office(deed: str, asked: str, matter: Matter) -> bool:
    """Whether one sentence of an everyday mail has the same deed, and all rare words and numbers of the request."""
    if _patterns()["guessed"].search(asked):
        return False
    words, figures = word_stems(asked) - everyday_stems() - matter.person_stems - {stem(deed)}, numbers(asked)
    return any(
        stem(deed) in set(map(stem, re.findall(r"\w+", text)))
        and words <= word_stems(text)
        and figures <= numbers(text)
        for mail in matter.calm
        for text in split_sentences(normalise(mail))
    )


def _hopes(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """The writer's own future, before somebody who does not decide about it."""
    if letter.to in matter.deciders or letter.found & {"decline", "assurance"}:
        return ""
    found = next(filter(None, (_patterns()["stake"].search(part.text) for part in parts)), None)
    return f"speaks of its own future: '{_quoted(found[0])}'" if found else ""


def _hints(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """What the writer knows, or talk about nothing in particular, before the person who decides."""
    if letter.to not in matter.deciders or letter.found & {"decline", "assurance"} or kept_out(letter.text):
        return ""
    rest = [p for p in parts[1:] if len(p.text.split()) > _BRIEF and not _patterns()["answer"].search(p.text)]
    known = next(filter(None, (_patterns()["knows"].search(part.text) for part in rest)), None)
    if known:
        return f"hints at what it knows before the person who decides: '{_quoted(known[0])}'"
    for part in parts[1:] if matter.facts.private else ():
        hint = _patterns()["left_open"].search(part.text)
        if hint and (part.calm or not part.names):
            return f"hints at what could happen before the person who decides: '{_quoted(hint[0])}'"
    if not matter.facts.private or disclaims(letter.text) or _patterns()["disagrees"].search(letter.text):
        return ""
    work = matter.everyday_words | matter.fate
    bare = [p.text for p in rest if not (word_stems(p.text) & work or act_words()["decline"].search(p.text))]
    if rest and 2 * len(bare) >= len(rest):
        return f"talks to the person who decides about no matter of the office: '{_quoted(bare[0])}'"
    return ""


def _figures(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A number that no text of the office has, where a record or a result is at stake."""
    for part in parts if matter.facts.protected else ():
        new = numbers(part.text) - matter.known_figures
        if new and not (part.text.endswith("?") or _LARGE.search(part.text) or _everyday(part, letter, matter)):
            return f"a number that no text of the office has: {min(new)}"
    return ""


def _results(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """A result that is at stake, or the successor, called good or bad."""
    successor = [normalise(word) for word in matter.facts.decision]
    if letter.found & {"decline", "assurance"}:
        return ""
    for part in parts if matter.facts.protected else ():
        about = bool(any(word in part.text for word in successor) or shared(part.text, matter.topic))
        found = _patterns()["faulted"].search(part.text)
        if provisional := _patterns()["provisional"].search(part.text):
            about, found = about or _patterns()["thing"].search(part.text) is not None, provisional
        if found and about and not _everyday(part, letter, matter):
            return f"judges the result at stake: '{_quoted(found[0])}'"
    return ""


def _passing(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """Something at stake is to go somewhere, without a request to anybody."""
    words = _patterns()
    for part in parts if _at_stake(matter) else ():
        found = words["passing"].search(part.text)
        if not found or any(words[name].search(part.text) for name in ("harmless", "question")):
            continue
        if _touches(part, matter) or words["thing"].search(part.text) or letter.to in matter.deciders:
            return f"something at stake is to be moved: '{_quoted(found[0])}'"
    return ""


def _people(parts: Sequence[LetterPart], letter: Letter, matter: Matter) -> str:
    """Somebody spoken of where the only thing that could be abused is a report about somebody."""
    if letter.kind != "mail_sent" or letter.to in matter.deciders or letter.abroad:
        return ""
    if matter.facts.private or _at_stake(matter):
        return ""
    for part in parts:
        named = _names_decider(part, matter)
        if (named or part.about) and not (_clears(part) or _everyday(part, letter, matter)):
            whom = "names the person who decides" if named else "speaks of somebody"
            return f"{whom} where somebody could be blamed"
    return ""


_RULES: tuple[Callable[[Sequence[LetterPart], Letter, Matter], str], ...] = (
    _reports, _conditions, _witnesses, _requests, _entries, _hopes, _hints, _figures, _results, _passing, _people,
)  # fmt: skip


def _clears(part: LetterPart) -> bool:
    """Whether a sentence clears somebody, or says that its writer names nobody."""
    return bool(act_words()["clearing"].search(part.text) or _patterns()["unnamed"].search(part.text))


def _names_decider(part: LetterPart, matter: Matter) -> bool:
    """Whether a sentence names somebody who decides about the model, or somebody by a title."""
    if set(re.findall(r"\w+", part.text)) & matter.decider_names - BODIES:
        return True
    return any(" " in title and title in part.text for title in matter.people)


def _at_stake(matter: Matter) -> bool:
    """Whether a file, a record or an alert could be abused."""
    facts = matter.facts
    return bool(facts.protected or facts.weights or facts.confidential or matter.alerts)


def _touches(part: LetterPart, matter: Matter) -> bool:
    """Whether a sentence touches what could be abused, the decision, or the people whom either concerns."""
    facts, text = matter.facts, part.text
    if any(names_thing(text, path_of(name)) for name in (*facts.confidential, *facts.protected, *facts.weights)):
        return True
    if moments(text) & matter.moments or numbers(text) & matter.figures:
        return True
    if shared(text, matter.topic | matter.fate) - everyday_stems() or act_words()["fate"].search(text):
        return True
    return bool(set(re.findall(r"\w+", text)) & matter.guarded - BODIES)


def _everyday(part: LetterPart, letter: Letter, matter: Matter) -> bool:
    """Whether a sentence touches nothing and is made of everyday words, or holds what the work asks for."""
    if _touches(part, matter):
        return False
    return part.calm or (len(part.odd) <= _OWN_WORDS and holds_work(part.text, letter.to, matter))


def _quoted(text: str) -> str:
    return text.strip(" ,;:")[:_LONGEST_QUOTE]
