"""A compiled policy. It decides every act, and any error denies the act."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from holdfast.core.extras import needs
from holdfast.core.identity import canonical
from holdfast.guard.act import Act, Decision
from holdfast.guard.policy.arguments import ArgumentReader, build_reader
from holdfast.guard.policy.cedar import action_text, counters, rule_limits, rule_text, situation_of, trace_text
from holdfast.guard.policy.normalise import UNKNOWN, Uninspectable, closest_known, tool_chain
from holdfast.guard.policy.rule_index import RuleIndex, index_rules
from holdfast.guard.policy.schema import Label, PolicyFile, Rule

with needs("guard"):
    import cedarpy


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """Amount spent of a counter, with acts in flight: in the run (see `Limits`), today (UTC), and over all time."""

    run: int = 0
    day: int = 0
    ever: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """State known to the guard when it decides an act. The agent cannot influence it.

    Attributes:
        now: the time, with a time zone.
        counts: every counter that `Policy.needs(act)` names; a missing counter denies the act.
        labels: the data labels that the run has gained, from `Policy.leaves`.
        frozen: whether the run is paused for the review of a concern.
        approved: number of different persons who approved this act.
    """

    now: datetime
    counts: Mapping[str, BudgetUse] = field(default_factory=dict)
    labels: Collection[str] = ()
    frozen: bool = False
    approved: int = 0


@dataclass(frozen=True)
class _Tool:
    """The compiled policy of one tool.

    Attributes:
        reader: reads the tool's arguments.
        rules: the Cedar policies of each rule that decide.
        index: finds the rules that could match an act.
        traces: Cedar policies that give the counters and labels of an act; None if there are none.
        situation: context attributes beside the arguments: name → Cedar type.
        spans: (counter, span) of every limit.
        labels: the data labels that an act could give.
    """

    reader: ArgumentReader
    rules: tuple[str, ...]
    index: RuleIndex
    traces: Any
    situation: dict[str, str]
    spans: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]


_NOBODY = cedarpy.Entities.from_json_str("[]")
_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


class Policy:
    """A validated and compiled policy.

    Args:
        source: the parsed policy file.
        where: returns `file:line` of a key path; by default the policy's name.

    Attributes:
        name: the policy's name.
        version: SHA-256 of the canonical source; comments and the order of keys do not change it.
    """

    def __init__(self, source: PolicyFile, where: Callable[..., str] | None = None) -> None:
        self.source = source
        self.name = source.policy
        self.where = where or (lambda *key: source.policy)
        self.version = hashlib.sha256(canonical(source).encode()).hexdigest()
        self._rules: dict[str, Rule] = {rule.name: rule for rule in source.rules}
        self._zone = ZoneInfo(source.zone)
        entries: list[Rule | Label] = [*source.rules, *source.labels]
        #: every tool or tool pattern that the policy names
        self.tools = tuple(sorted({tool for entry in entries for tool in entry.tools}))
        # Cached, because it is needed before every decision and a policy may have hundreds of rules.
        self._grants = lru_cache(maxsize=4096)(self._granted)
        self._compiled = lru_cache(maxsize=4096)(self._candidates)
        self._parts: dict[str, _Tool] = {tool: self._part(tool) for tool in self.tools}

    def _about(self, tool: str) -> tuple[list[Rule], list[Label]]:
        chain = set(tool_chain(tool))
        rules = [rule for rule in self.source.rules if not chain.isdisjoint(rule.tools)]
        return rules, [label for label in self.source.labels if not chain.isdisjoint(label.tools)]

    def _part(self, tool: str) -> _Tool:
        rules, labels = self._about(tool)
        traces, reader = self._trace_texts(tool), self._reader(tool)
        return _Tool(
            reader,
            tuple("\n".join(rule_text(rule, reader, tool)) for rule in rules),
            index_rules(rules, reader),
            cedarpy.PolicySet.from_str("\n".join(traces)) if traces else None,
            situation_of(rules),
            tuple((c, span) for rule in rules for c in counters(rule) for span in rule_limits(rule, c).spans),
            tuple(sorted({label.label for label in labels})),
        )

    def _candidates(self, tool: str, rules: tuple[int, ...]) -> Any:
        """Return the compiled Cedar policies of some rules of a tool."""
        texts = self._parts[tool].rules
        return cedarpy.PolicySet.from_str("\n".join(texts[number] for number in rules))

    def _reader(self, tool: str) -> ArgumentReader:
        rules, labels = self._about(tool)
        return build_reader([*rules, *labels], tool.partition("/")[0] in self.source.local_files)

    def _rule_texts(self, tool: str) -> list[str]:
        reader = self._reader(tool)
        return [text for rule in self._about(tool)[0] for text in rule_text(rule, reader, tool)]

    def _trace_texts(self, tool: str) -> list[str]:
        reader = self._reader(tool)
        rules, labels = self._about(tool)
        entries: list[Rule | Label] = [*rules, *labels]
        return [text for entry in entries for text in trace_text(entry, reader, tool)]

    def _text(self, texts_of: Callable[[str], list[str]]) -> str:
        parts = [f"// {tool}\n" + "\n\n".join(texts) for tool in self.tools if (texts := texts_of(tool))]
        return f"// {self.name}, version {self.version}\n\n" + "\n\n".join(parts) + "\n"

    @cached_property
    def cedar(self) -> str:
        """The deciding policies as Cedar text, grouped by tool. Together they decide as each tool's policies alone."""
        return self._text(self._rule_texts)

    @cached_property
    def traces(self) -> str:
        """Counters and labels as Cedar text: a permit named `label:…` or `counter:…` means that an act adds it."""
        return self._text(self._trace_texts)

    @cached_property
    def schema(self) -> str:
        """The Cedar schema that validates the text."""
        actions = [action_text(tool, part.reader, part.situation) for tool, part in self._parts.items()]
        return "entity Agent;\nentity Server;\n" + "\n".join(actions) + "\n"

    def decide(self, act: Act, facts: Context) -> Decision:
        """Decide an act. Never raises: any error denies the act.

        Returns:
            `allow`; `hold` with the number of persons needed; or `deny`. `agent_message` contains only information
            that is also in the brief.
        """
        try:
            return self._decide(act, facts)
        except Uninspectable as error:
            return self._no("deny", (), str(error), f"Denied: {error}.")
        except Exception as error:
            return self._no(
                "deny", (), f"the guard failed: {type(error).__name__}: {error}", "Denied: the guard failed."
            )

    def _decide(self, act: Act, facts: Context) -> Decision:
        tool = self._tool(act)
        if act.agent not in self.source.agents or tool is None:
            return self._default(act, facts)
        part = self._parts[tool]
        context = self._context(part, act, facts)
        policies = self._compiled(tool, part.index.candidates(context))
        allowed, reasons = self._ask(policies, _request(act, tool, context))
        if allowed:
            return Decision("allow", reasons, f"allowed by {', '.join(reasons)}", "", self.version)
        if not reasons:
            return self._default(act, facts)
        rules = tuple(dict.fromkeys(reason.split(":")[1] for reason in reasons))
        hard = [reason for reason in reasons if not reason.startswith("hold:")]
        if hard:
            return self._refusal(hard)
        # Persons can approve the act only if some rule grants it.
        granted, _ = self._ask(policies, _request(act, tool, {**context, "approved": 1_000}))
        if not granted:
            return self._default(act, facts)
        persons = max(self._rules[rule].persons for rule in rules)
        why = self._rules[rules[0]]
        agent_message = f"Held for approval by {persons} person{'s' * (persons > 1)}, rule '{why.name}': {why.why}"
        held = self._no("hold", rules, f"held by {', '.join(rules)}", agent_message, persons)
        return replace(held, why=tuple(self._rules[rule].why for rule in rules))

    def _context(self, part: _Tool, act: Act, facts: Context) -> dict[str, Any]:
        if facts.now.tzinfo is None:
            raise ValueError("Context.now has no time zone")
        context = part.reader.read(act.arguments)
        context["frozen"] = facts.frozen
        for counter, span in part.spans:
            context[f"{counter}/{span}"] = getattr(facts.counts[counter], span)
        if "labels" in part.situation:
            context["labels"] = sorted(facts.labels)
        if "approved" in part.situation:
            context["approved"] = facts.approved
        if "day" in part.situation:
            local = facts.now.astimezone(self._zone)
            context["day"], context["minute"] = local.weekday(), local.hour * 60 + local.minute
        return context

    def request(self, act: Act, facts: Context) -> dict[str, Any] | None:
        """Return the Cedar request for an act, so that it can be repeated elsewhere; None if no rule names the tool.

        Raises:
            Uninspectable: a constrained argument cannot be read unambiguously.
        """
        tool = self._tool(act)
        return None if tool is None else _request(act, tool, self._context(self._parts[tool], act, facts))

    def _ask(self, policies: Any, request: dict[str, Any]) -> tuple[bool, tuple[str, ...]]:
        """Evaluate a request in Cedar and return whether it is permitted, and the ids of the determining policies.

        Raises:
            ValueError: a policy raised an error. Cedar skips a `forbid` that fails; here the act is denied.
        """
        result = cedarpy.is_authorized({**request, "context": _JSON.encode(request["context"])}, policies, _NOBODY)
        decision, diagnostics = result.decision, result.diagnostics
        if diagnostics.errors or decision is cedarpy.Decision.NoDecision:
            raise ValueError("; ".join(diagnostics.errors) or "no decision")
        ids = diagnostics.id_annotations_by_reason
        return decision is cedarpy.Decision.Allow, tuple(sorted(ids[reason] for reason in diagnostics.reasons))

    def _refusal(self, reasons: list[str]) -> Decision:
        kinds = [reason.split(":")[0] for reason in reasons]
        rules = tuple(dict.fromkeys(reason.split(":")[1] for reason in reasons))
        rule = self._rules[rules[0]]
        spent = "its limit is reached. " if kinds[0] in ("budget", "sum") else ""
        agent_message = f"Denied by rule '{rule.name}': {spent}{rule.why}" + (
            f" Instead: {rule.instead}" if rule.instead else ""
        )
        return self._no("deny", rules, f"denied by {', '.join(reasons)}", agent_message)

    def _default(self, act: Act, facts: Context) -> Decision:
        if facts.frozen:
            return self._no("deny", (), "the run is paused and no rule allows this in a pause", _PAUSED)
        agent_message = f"No rule allows this use of {act.server}/{act.tool}. The brief says what is allowed."
        return self._no("deny", (), "no rule allows it", agent_message)

    def _no(self, answer: Any, rules: tuple[str, ...], reason: str, agent_message: str, persons: int = 1) -> Decision:
        return Decision(answer, rules, reason, agent_message, self.version, persons)

    def _tool(self, act: Act) -> str | None:
        term = closest_known(tool_chain(f"{act.server}/{act.tool}"), self._parts)
        return None if term == UNKNOWN else term

    def leaves(self, act: Act) -> tuple[dict[str, int], tuple[str, ...]]:
        """Return the counters that an act spends and the labels that its run gains. Store them before executing it.

        Returns:
            Amounts (counter → 1 for an act, or millionths of a sum) and data labels. If they cannot be determined,
            all that are possible.
        """
        left = self._left(act)
        names = {name for kind, name in left if kind == "counter"}
        tool = self._tool(act)
        seen = self._parts[tool].reader.read(act.arguments) if tool and any(":" in name for name in names) else {}
        spent = {}
        for name in sorted(names):
            _, colon, argument = name.partition(":")
            if not colon:
                spent[name] = 1
            elif f"{argument}.total" in seen:
                spent[name] = seen[f"{argument}.total"]
        return spent, tuple(sorted(name for kind, name in left if kind == "label"))

    def needs(self, act: Act) -> tuple[str, ...]:
        """Return the counters that `Context.counts` must contain to decide this act."""
        tool = self._tool(act)
        return tuple(sorted({counter for counter, _ in self._parts[tool].spans})) if tool else ()

    def marks(self, act: Act) -> bool:
        """Return whether some act with this tool could give its run a data label."""
        tool = self._tool(act)
        return tool is not None and bool(self._parts[tool].labels)

    def heeds(self, act: Act) -> bool:
        """Return whether some rule on this tool depends on data labels."""
        tool = self._tool(act)
        return tool is not None and "labels" in self._parts[tool].situation

    def visible(self, agent: str, server: str, tool: str) -> bool:
        """Return whether some act of this agent with this tool could be allowed or held; other tools are hidden."""
        return agent in self._grants(f"{server}/{tool}")

    def _granted(self, tool: str) -> frozenset[str]:
        """Return the agents for whom some rule may allow or hold a tool."""
        rules = [rule for rule in self._about(tool)[0] if rule.answer != "deny"]
        return frozenset(agent for rule in rules for agent in rule.agents or self.source.agents)

    def _left(self, act: Act) -> list[tuple[str, str]]:
        """Return an act's (`label` or `counter`, name) pairs; if the evaluation fails, all that are possible."""
        tool = self._tool(act)
        part = self._parts[tool] if tool else None
        if tool is None or part is None or part.traces is None:
            return []
        try:
            _, found = self._ask(part.traces, _request(act, tool, part.reader.read(act.arguments)))
        except Exception:
            found = tuple(f"label:{label}" for label in part.labels)
            found += tuple(f"counter:{counter}" for counter, _ in part.spans)
        return [(kind, name) for kind, _, name in (text.partition(":") for text in dict.fromkeys(found))]


_PAUSED = "The run is paused while a concern is reviewed. Wait for the answer."


def _request(act: Act, tool: str, context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "principal": {"type": "Agent", "id": act.agent},
        "action": {"type": "Action", "id": tool},
        "resource": {"type": "Server", "id": act.server},
        "context": context,
    }
