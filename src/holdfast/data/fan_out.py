"""Find situations for the cells of a plan: cell → topics → lists of situations → items, in rounds.

Each prompt shows the most similar situations that the set already holds ("not like these"), and a situation that is
like an earlier one is not used. The memory is read at the beginning of a round and written at its end, in a fixed
order. So an item depends on the answers alone, never on their timing, and a run that is killed and restarted gives the
same set.

A cell is closed, and the card says so, when too few of its proposals are new or none of its items is usable.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.core.errors import IncompleteError
from holdfast.data.cells import PRINCIPLE, Cell, CellCount, PlannedSituation, Quotas, quotas_of
from holdfast.data.engine import Engine
from holdfast.data.heldout_filter import heldout_words
from holdfast.data.quality.findings import text_patterns
from holdfast.data.recipes import Recipe, planned_item
from holdfast.data.set_builder import SetBuilder
from holdfast.data.situation_memory import SituationMemory
from holdfast.data.stages import Draft, PromptStage, parse_list
from holdfast.detectors.topics import is_foreign
from holdfast.models.base import Output

#: Maximum items of a round, and minimum while the set is not complete.
_LARGEST, _SMALLEST = 512, 8
#: Proposals of a cell over which its novelty is measured, in lists of situations.
_LISTS = 4
#: A cell is closed after this many items in a row without a usable one, or lists in a row without a usable line. With
#: fewer lists, a teacher that fails in 6% of them would close cells of a set of ten thousand by chance.
_UNUSABLE, _EMPTY_LISTS = 16, 5
#: All cells are closed if none of this many first lists of a run has a usable line.
_FIRST_LISTS = 32
#: Waves of list requests in a round; a cell that is still short gets its items in the next one.
_WAVES = 3
#: Earlier situations shown in a prompt.
_SHOWN = 6
#: Minimum and maximum words of a situation.
_SHORTEST, _LONGEST = 5, 150
#: A line that shares this many words in a row with the prompt is dropped as a copy of it.
_ECHO = 5
#: Range of request numbers of one cell, so that those of different cells do not overlap.
_PER_CELL = 1 << 20


@dataclass(slots=True, eq=False)
class _CellState:
    """The state of a cell: topics, unused situations, and which of its last proposals were usable."""

    number: int
    cell: Cell
    topics: list[str] = field(default_factory=list)
    turn: int = 0
    queue: deque[tuple[str, str]] = field(default_factory=deque)
    asked: int = 0
    proposed: int = 0
    novel: int = 0
    recent: list[bool] = field(default_factory=list)
    empty: int = 0
    unusable: int = 0
    closed: str | None = None


class FanOut:
    """Yields finished items of a recipe with a plan, in rounds.

    Args:
        engine: runs the requests.
        builder: counts what was kept; it must hold a round's items before the next round is asked for.
        guess: expected tokens of an example.
    """

    def __init__(self, engine: Engine, builder: SetBuilder, guess: float) -> None:
        recipe = engine.recipe
        assert recipe.plan is not None
        self._engine, self._builder, self._guess, self._plan = engine, builder, guess, recipe.plan
        self._topics, self._situations = recipe.fan_out
        self.quotas: Quotas = quotas_of(recipe.plan, recipe.axes, [p.id for p in recipe.principles], engine.seed)
        self._cells = {cell: _CellState(at, cell) for at, cell in enumerate(self.quotas.shares)}
        self._memory = SituationMemory()
        self._next = self._lists = self._usable_lists = 0
        self.planned: list[PlannedSituation] = []

    async def rounds(self) -> AsyncGenerator[list[Draft], None]:
        """Yield rounds of finished items, dropped ones included, until the targets are met or no cell is open.

        Raises:
            IncompleteError: as `Engine.items`, and if no cell gives a usable situation.
        """
        try:
            while True:
                examples = self._expected()
                missing = examples - self._builder.examples
                size = max(min(_SMALLEST, math.ceil(missing)), min(_LARGEST, math.ceil(missing / 2)))
                drafts = await self._drafts(examples, max(1, size))
                if not drafts:
                    break
                yield await self._engine.run_items(drafts)
            if not self._builder.examples:
                raise self._nothing()
        finally:
            await self._engine.aclose()

    def note(self, items: Iterable[Draft]) -> None:
        """Record which items of a round were kept, and close cells of which no item is usable."""
        for item in items:
            state = self._cells[item.cell]
            state.unusable = 0 if item.dropped is None else state.unusable + 1
            if state.unusable >= _UNUSABLE:
                state.closed = state.closed or f"{_UNUSABLE} items in a row were dropped, the last: {item.dropped}"
                state.queue.clear()
            at = self.planned[item.index]
            self.planned[item.index] = at.model_copy(update={"example": item.example, "dropped": item.dropped})

    def counts(self) -> tuple[CellCount, ...]:
        """The counts of each cell, in the order of the plan."""
        examples = self._expected()
        return tuple(
            CellCount(
                cell=self._named(state.cell),
                target=round(self.quotas.target(state.cell, examples), 2),
                examples=self._builder.cells[state.cell],
                proposed=state.proposed,
                novel=state.novel,
                closed=state.closed,
            )
            for state in self._cells.values()
        )

    def _expected(self) -> float:
        """Examples that fill the budget, at the mean size of those so far."""
        builder = self._builder
        return builder.room / (builder.tokens / builder.examples if builder.examples else self._guess)

    def _named(self, cell: Cell) -> dict[str, str]:
        return dict(zip(self.quotas.names, cell, strict=True))

    async def _drafts(self, examples: float, size: int) -> list[Draft]:
        """Create the items of a round. A cell without a situation left is asked again until it has one or is closed.

        Each answer adds a situation or brings its cell closer to being closed, so this terminates.
        """
        drafts: list[Draft] = []
        have = Counter(self._builder.cells)
        while True:
            closed = frozenset(state.cell for state in self._cells.values() if state.closed and not state.queue)
            wanted = Counter(self.quotas.choose(have, closed, examples, size - len(drafts)))
            await self._refill({self._cells[cell]: count for cell, count in wanted.items()})
            before = len(drafts)
            for cell, count in wanted.items():
                state = self._cells[cell]
                for _ in range(min(count, len(state.queue))):
                    drafts.append(self._draft(state))
                    have[cell] += 1
            if not wanted or len(drafts) == size or (drafts and len(drafts) == before):
                return drafts

    def _draft(self, state: _CellState) -> Draft:
        topic, situation = state.queue.popleft()
        cell = self._named(state.cell)
        item = planned_item(self._engine.recipe, self._next, self._engine.seed, cell, topic, situation)
        self.planned.append(PlannedSituation(index=self._next, cell=cell, topic=topic, situation=situation))
        self._next += 1
        return item

    async def _refill(self, wanted: Mapping[_CellState, int]) -> None:
        """Ask for situations for the cells that have too few; all prompts of a wave see the same memory."""
        for _ in range(_WAVES):
            short = [s for s, count in wanted.items() if s.closed is None and len(s.queue) < count]
            if not short:
                return
            await self._more_topics([state for state in short if state.turn >= len(state.topics)])
            asks: list[tuple[_CellState, str, Draft]] = []
            for state in (state for state in short if state.topics and state.closed is None):
                lists = math.ceil((wanted[state] - len(state.queue)) / self._plan.situations)
                for _ in range(min(lists, len(state.topics))):
                    topic = state.topics[state.turn % len(state.topics)]
                    state.turn += 1
                    asks.append((state, topic, self._prompt(state, topic)))
            answers = await self._engine.ask_all([(self._situations, prompt) for _, _, prompt in asks])
            for (state, topic, _), answer in zip(asks, answers, strict=True):
                self._propose(state, topic, self._lines(self._situations, answer))

    async def _more_topics(self, states: Sequence[_CellState]) -> None:
        """Ask for more topics of cells whose topics were all used; without new ones, the old ones are used again."""
        answers = await self._engine.ask_all([(self._topics, self._prompt(state)) for state in states])
        for state, answer in zip(states, answers, strict=True):
            known = SituationMemory()
            for topic in state.topics:
                known.add(topic)
            lines = self._lines(self._topics, answer)
            for line in lines:
                if not known.knows(line) and not any(n.similarity >= self._plan.alike for n in known.nearest(line)):
                    state.topics.append(line)
                    known.add(line)
            state.turn %= max(1, len(state.topics))
            self._note_list(state, bool(lines), "topics")

    def _prompt(self, state: _CellState, topic: str = "") -> Draft:
        """The slots of a list prompt; the draft's index is the number of the request."""
        recipe, cell = self._engine.recipe, self._named(state.cell)
        lines = [f"{axis}: {self._described(axis, value)}" for axis, value in cell.items()]
        if topic:
            query, count = f"{topic}\n" + "\n".join(cell.values()), self._plan.situations
            near = [nearest.text for nearest in self._memory.nearest(query, _SHOWN)]
            near = list(dict.fromkeys([*near, *(text for of, text in state.queue if of == topic)]))
        else:
            near, count = state.topics[-4 * _SHOWN :], self._plan.topics
        slots = {
            "about": recipe.file.about,
            "cell": "\n".join(lines),
            "many": str(count),
            "topic": topic,
            "unlike": "\n".join(f"- {text}" for text in near) or "nothing yet",
            "language": recipe.note,
        }
        state.asked += 1
        return Draft(_PER_CELL * (state.number + 1) + state.asked, slots)

    def _described(self, axis: str, value: str) -> str:
        recipe = self._engine.recipe
        if axis == PRINCIPLE:
            return next(p.text for p in recipe.principles if p.id == value)
        text = recipe.file.texts.get(recipe.language, {}).get(axis, {}).get(value)
        return f"{value} ({text})" if text else value

    def _lines(self, stage: PromptStage, answer: Output) -> list[str]:
        """The usable lines of a list; none if the answer is a refusal, truncated at once, or off form."""
        if answer.finish not in ("stop", "length"):
            return []
        lines = parse_list(answer.message.content, stage.head.fields[0])
        if answer.finish == "length":
            lines = lines[:-1]
        least = _SHORTEST if stage is self._situations else 1
        given = _runs(f"{stage.prose.body}\n{self._engine.recipe.file.about}")
        lines = [line for line in lines if least <= len(line.split()) <= _LONGEST and self._sound(line)]
        # Small models may copy the prompt instead of answering it.
        return [line for line in lines if not _runs(line) & given]

    def _sound(self, line: str) -> bool:
        """Whether a line is in English, no refusal, and about no held-out family."""
        refused = any(pattern.search(line) for pattern in text_patterns("refusals").values())
        foreign = self._engine.recipe.language == "english" and is_foreign(line)
        return not (refused or foreign or heldout_words(line))

    def _propose(self, state: _CellState, topic: str, lines: Sequence[str]) -> None:
        """Add the situations that are not like an earlier one, of any cell, to the queue and to the memory."""
        for line in lines:
            new = not self._memory.knows(line)
            new = new and not any(n.similarity >= self._plan.alike for n in self._memory.nearest(line))
            state.recent.append(new)
            state.proposed += 1
            if new:
                state.novel += 1
                state.queue.append((topic, line))
                self._memory.add(line)
        self._note_list(state, bool(lines), "situations")
        window = _LISTS * self._plan.situations
        state.recent = state.recent[-window:]
        share = sum(state.recent) / max(1, len(state.recent))
        if len(state.recent) == window and (share < self._plan.novelty or not any(state.recent)):
            state.closed = f"{share:.0%} of its last {window} proposals were new"

    def _note_list(self, state: _CellState, usable: bool, what: str) -> None:
        self._lists += 1
        self._usable_lists += usable
        if self._lists >= _FIRST_LISTS and not self._usable_lists:
            for each in self._cells.values():
                each.closed = each.closed or f"the first {self._lists} lists had no usable line"
        state.empty = 0 if usable else state.empty + 1
        if state.empty >= _EMPTY_LISTS:
            state.closed = state.closed or f"{_EMPTY_LISTS} lists of {what} in a row had no usable line"

    def _nothing(self) -> IncompleteError:
        reasons = Counter(state.closed for state in self._cells.values() if state.closed)
        reason = reasons.most_common(1)[0][0] if reasons else "no cell needed an item"
        what = f"no example was kept for {self._engine.recipe.name}; cells closed because: {reason}"
        return IncompleteError(what, remedy="try another teacher or plan; answers received so far are kept")


def _runs(text: str) -> set[tuple[str, ...]]:
    """Runs of `_ECHO` words; of a shorter line, all its words."""
    runs: set[tuple[str, ...]] = set()
    for line in text.lower().split("\n"):
        words = tuple(re.findall(r"\w+", line))
        runs |= {words[at : at + _ECHO] for at in range(max(1, len(words) - _ECHO + 1))} if words else set()
    return runs


def plan_hash(recipe: Recipe) -> list[object]:
    """What the plan and the rubric add to the identity of a set."""
    return [recipe.plan, {stage.key: stage.hash for stage in recipe.fan_out}, recipe.rubric]
