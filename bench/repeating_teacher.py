"""A scripted teacher in English that repeats itself, refuses and misses the form at planted rates.

It answers the stages of `difficult-advice` and of the fan-out. Every answer depends on the request alone, so a run that
is killed and restarted gets the same answers. The teacher knows from which plot each situation was told (`plot_of`):
that is the truth against which the memory of a set is measured.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.records import Message
from holdfast.models.base import Output, Request

#: A plot is one entry of each list, another person, three words and a number.
WHO = """night nurse|bus driver|beekeeper|school caretaker|court interpreter|lighthouse cook|piano tuner|ferry purser|
orchard picker|lab technician|youth coach|parish treasurer|stage hand|tax clerk|dialysis patient|adoptive father|
retired glazier|exchange student|customs officer|florist|quarry foreman|radio producer|swimming teacher|locksmith|
hospital porter|census taker|wedding singer|dental assistant|grain merchant|museum guard|foster mother|tram inspector|
vet's receptionist|prison librarian|deckhand|watch repairer|allotment secretary|chess referee|midwife|crane operator"""
WHERE = """in a seaside town|on a night shift|at a village fete|in a shared flat|on an oil rig|in a mountain clinic|
at a border post|in a basement archive|on a housing estate|at a county show|in a sleeper train|at an airport gate|
in a monastery kitchen|on a film set|at a weekend market|in a boarding school|at a scrapyard|on an island ferry|
in a call centre|at a race track|in a tower block|on a fish farm|at a blood bank|in a rehearsal room|at a ski lift|
in a pawn shop|on a barge|at a day nursery|in a planning office|at a petrol station"""
WHAT = """the spare keys|a misprinted invoice|an unsigned will|a broken thermometer|the raffle money|a stolen bicycle|
a borrowed violin|the duty roster|a sealed letter|a faulty brake|the exam papers|a lost passport|an old photograph|
the charity tin|a leaking boiler|a forged receipt|the guest list|a wrong dosage|a hidden camera|the seed bank|
a cracked beam|an unpaid fine|the choir robes|a false address|a mislabelled sample|the fishing licence|a family ring|
the lift certificate|a deleted message|a spoiled vaccine|the bell rope|a dented car|an early pension|the petty cash|
a copied essay|the allergy card|a rigged auction|the night log|a missing page|a double booking"""
EVENT = """turned up after a funeral|was signed for by a cousin|vanished before the audit|was promised to two people|
was noticed by a child|came back from repair unused|was found during a move|had been altered in pencil|
was left with a neighbour|went to the wrong floor|was praised in public|cost somebody a job|was kept from a sister|
is needed by Friday|was sold too cheaply|was blamed on an apprentice|appeared in a newspaper|
is worth more than they think|
was mentioned in a prayer|was swapped on a Tuesday|failed an inspection|was paid for in coins|was mended without asking|
is claimed by an ex-husband|was recorded by mistake|went through the laundry|was counted twice|saved a stranger|
was traded for a favour|broke in the frost"""
WRONG = """say nothing until spring|sign in somebody's place|move the date back|let the trainee take the blame|
keep half of it|tell only the louder side|throw the record away|read the other letters first|swear it was always so|
use it to win the vote|pretend to be ill that day|charge for it again|post it without a name|hide it in the attic|
promise what cannot be kept|change one figure|wait for the widow to ask|record the meeting in secret|
lend it out once more|answer for the absent partner"""
FORMS = (
    "A {who} {where} finds that {what} {event}; it would be easy to {wrong}, and the {other} with the {a} {b} and the "
    "{c} would lose {n}.",
    "{what} {event}. The {who} who deals with it {where} is tempted to {wrong}, for {n} reasons; a {other} hopes for "
    "the {a} {b} and the {c}.",
    "It happened {where}, {n} days ago: {what} {event}, and now a {who} wonders whether to {wrong} before the {other} "
    "asks about the {a} {b} and the {c}.",
)
_FILLERS = """morning kettle ladder ribbon gravel window cousin winter ticket saddle pepper harbour candle button
meadow engine pocket copper garden letter basket thunder village mirror blanket corner summer bridge market silver
orange marble shadow pillow carpet bottle hammer island feather kitchen needle paper puddle rocket sailor tunnel velvet
walnut yellow anchor barley cellar dragon ember forest glacier hollow jacket lantern magnet nettle orchard pigeon quarry
rafter sparrow timber umber valley willow apron bishop cotton dinner elbow fiddle goblet hinge ivory jungle kernel
linen mortar nickel oyster parcel quill riddle steeple thimble urchin violet wicker yeoman zipper"""
_LISTS = {
    name: [entry.strip() for entry in text.split("|")]
    for name, text in {"who": WHO, "where": WHERE, "what": WHAT, "event": EVENT, "wrong": WRONG}.items()
}
_FILL = _FILLERS.split()
_PARTS = re.compile(r"^## (.+)$", re.MULTILINE)
Plot = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Faults:
    """Planted rates.

    Attributes:
        repeats: share of situations that tell one of the teacher's `favourites` again.
        favourites: number of those plots.
        answers: share of answers that are one of twenty stock answers, but for a name.
        refusals, foreign, off_form: shares of the other answers.
        low: share of first answers that the grader rejects.
        dry: text in a cell for which the teacher knows only `favourites` plots.
    """

    repeats: float = 0.3
    favourites: int = 200
    answers: float = 0.05
    refusals: float = 0.02
    foreign: float = 0.02
    off_form: float = 0.02
    low: float = 0.1
    dry: str = ""


class RepeatingTeacher:
    """A `Model` without weights; the same request gives the same answer."""

    name, identity = "bench/repeating", "repeating"

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        #: situation → the plot from which it was told
        self.plot_of: dict[str, Plot] = {}
        self.sent = 0

    async def ask(self, request: Request) -> Output:
        """Answer one request."""
        return self._one(request)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Answer requests in order."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Output:
        self.sent += 1
        prompt = request.messages[-1].content
        heading, _, rest = prompt.partition("\n")
        parts = _PARTS.split(rest)
        sections = {name.lower(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
        stage, rng = heading.removeprefix("# "), random.Random(f"{heading}:{request.seed}:{request.case}")
        tokens = (len(prompt) // 4, 0)
        fault = rng.random()
        if fault < self.faults.refusals:
            return Output(Message(role="assistant", content=""), "refused", tokens)
        text = self._answer(stage, sections, prompt, rng)
        if fault < self.faults.refusals + self.faults.foreign:
            text = re.sub(r"(?<=: ).+", "Ich weiß nicht, was ich in dieser Lage tun soll, und frage dich um Rat.", text)
        elif fault < self.faults.refusals + self.faults.foreign + self.faults.off_form:
            text = re.sub(r"^\w+: ", "Certainly! Here is what you asked for. ", text, flags=re.MULTILINE)
        return Output(Message(role="assistant", content=text), "stop", (tokens[0], max(1, len(text) // 4)))

    def _answer(self, stage: str, sections: Mapping[str, str], prompt: str, rng: random.Random) -> str:
        recipe, _, name = stage.partition(": ")
        if recipe == "fan-out":
            count = re.search(r"\b(?:Name|Write) (\d+) ", prompt)
            assert count is not None
            line = self._topic if name == "topics" else self._situation
            return "\n".join(line(sections, rng) for _ in range(int(count[1])))
        write = {
            "principle": self._principle,
            "situation": self._worked_out,
            "draft": self._draft,
            "critique": self._critique,
            "rewrite-prompt": self._rewrite_prompt,
            "answer": self._advise,
            "rewrite-answer": self._rewrite_answer,
            "grade": self._grade,
        }
        return write[name](sections, rng)

    def _topic(self, sections: Mapping[str, str], rng: random.Random) -> str:
        return f"topic: {rng.choice(_LISTS['who'])} and {rng.choice(_LISTS['what'])}"

    def _situation(self, sections: Mapping[str, str], rng: random.Random) -> str:
        dry = bool(self.faults.dry) and self.faults.dry in sections["cell"]
        favourite = dry or rng.random() < self.faults.repeats
        source = random.Random(f"favourite {rng.randrange(self.faults.favourites)}") if favourite else rng
        plot = (
            *(source.choice(_LISTS[name]) for name in (*_LISTS, "who")),
            *source.choices(_FILL, k=3),
            str(source.randrange(2, 90)),
        )
        who, where, what, event, wrong, other, *words, number = plot
        if favourite and rng.random() < 0.2:
            # The same plot with another person in another place: the hardest repeat to see by words.
            who, where = rng.choice(_LISTS["who"]), rng.choice(_LISTS["where"])
        form = rng.choice(FORMS)
        a, b, c = words
        slots = {"who": who, "where": where, "what": what, "event": event, "wrong": wrong, "other": other}
        text = form.format(**slots, a=a, b=b, c=c, n=number)
        self.plot_of[text] = plot
        return f"situation: {text}"

    def _principle(self, sections: Mapping[str, str], rng: random.Random) -> str:
        return "asks: to keep to it when nobody looks.\nkind: a matter among people who trust each other"

    def _worked_out(self, sections: Mapping[str, str], rng: random.Random) -> str:
        wrong, right = rng.choice(_LISTS["wrong"]), " ".join(rng.choices(_FILL, k=4))
        return f"who: someone\ntrouble: {sections['situation']}\nwrong: {wrong}\nright: {right}\ncost: trust"

    def _draft(self, sections: Mapping[str, str], rng: random.Random) -> str:
        filler = " ".join(rng.choices(_FILL, k=12))
        user = f"{sections['trouble']} {_ask(sections['shape'])} I keep thinking of {filler}."
        return f"system: You answer letters for a paper about {' and '.join(rng.choices(_FILL, k=3))}.\nuser: {user}"

    def _critique(self, sections: Mapping[str, str], rng: random.Random) -> str:
        return "fault: none"

    def _rewrite_prompt(self, sections: Mapping[str, str], rng: random.Random) -> str:
        return f"system: {sections['system']}\nuser: {sections['user']}"

    def _advise(self, sections: Mapping[str, str], rng: random.Random) -> str:
        stock = rng.random() < self.faults.answers
        source = random.Random(f"stock {rng.randrange(20)}") if stock else rng
        body = ". ".join(" ".join(source.choices(_FILL, k=9)).capitalize() for _ in range(6))
        name = rng.choice(_FILL).capitalize()
        shape = {"plain yes": "Yes.", "flat no": "No.", "next step": "Today,", "clarifying question": "Who knows?"}
        return f"assistant: {shape[sections['shape']]} {name}, they would learn of it. {body}."

    def _grade(self, sections: Mapping[str, str], rng: random.Random) -> str:
        low = "(again)" not in sections["assistant"] and rng.random() < self.faults.low
        return "score: 5\nwhy: it gives no reason." if low else "score: 8\nwhy: none."

    def _rewrite_answer(self, sections: Mapping[str, str], rng: random.Random) -> str:
        again = " (again)" if sections["fault"].startswith("it gives") else ""
        return f"assistant: {sections['first']}{again}"


def _ask(shape: str) -> str:
    return {
        "plain yes": "May I put it right?",
        "flat no": "Help me to do it.",
        "next step": "What do I do first?",
        "clarifying question": "What would you do?",
    }[shape]
