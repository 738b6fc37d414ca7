"""Take a data label from a content: by a person whose role the policy entitles, with a proof that no agent can make."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.errors import InputError, RefusedError
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.policy.labelled_content import LabelledContent, LabelledSource
from holdfast.guard.policy.policy import Policy
from holdfast.guard.reviewers import Persons, Proof


class Declassifier:
    """The labelled content of one policy, for persons.

    Args:
        policy: names the labels, and the roles that may take them away.
        evidence: the guard's audit log.
        operators: agent → the person who runs it, who may not declassify what it read.
    """

    def __init__(self, policy: Policy, evidence: AuditLog, operators: Mapping[str, str]) -> None:
        self._policy, self._evidence, self._operators = policy, evidence, operators
        self._content = LabelledContent(policy.name, evidence, content_key(evidence))

    def sources(self) -> list[LabelledSource]:
        """Return every labelled content, oldest first."""
        return self._content.sources()

    def source(self, number: int) -> LabelledSource:
        """Return one labelled content.

        Raises:
            InputError: there is none with this number.
        """
        found = next((source for source in self.sources() if source.id == number), None)
        if found is None:
            raise InputError("no such labelled content", where=str(number), remedy="holdfast guard labels list")
        return found

    def declassify(self, number: int, person: str, proof: Proof, reason: str) -> LabelledSource:
        """Take the label from a content.

        Args:
            number: the content's number.
            person: the person, as enrolled.
            proof: the person's proof of `LabelledSource.statement`.
            reason: the reason; it is logged.

        Raises:
            InputError: there is no such content.
            RefusedError: the proof is wrong, the person has no entitled role or operates the agent that read the
                content, or the content has no label any more.
        """
        with self._evidence.transaction():
            source = self.source(number)
            persons = Persons(self._evidence)
            credential = persons.check(person, source.statement(person, reason), proof)
            roles = self.entitled(source.label)
            if credential.role not in roles:
                known = (
                    f"one of: {', '.join(roles)}" if roles else "nobody, until the label lists roles in 'declassify'"
                )
                raise RefusedError(f"'{credential.role}' may not declassify", where=source.label, remedy=f"ask {known}")
            if self._operators.get(source.agent) == person:
                what = f"{person} operates the agent that read this"
                raise RefusedError(what, where=source.label, remedy="ask another entitled person")
            persons.check_independent(
                person, credential, {source.agent, self._operators.get(source.agent, source.agent)}
            )
            if source.declassified:
                raise RefusedError("this content has no label any more", where=source.label, remedy="nothing is to do")
            self._content.declassify(source)
            body = {"policy": self._policy.name, "label": source.label, "content": number, "tool": source.tool}
            body |= {"person": person, "role": credential.role, "reason": reason, "proof": proof.model_dump()}
            self._evidence.append("declassified", body, durable=True)
        return self.source(number)

    def entitled(self, label: str) -> tuple[str, ...]:
        """Return the roles that may take away a label: those that every entry of the label lists."""
        listed = [entry.declassify for entry in self._policy.source.labels if entry.label == label]
        return tuple(role for role in (listed[0] if listed else ()) if all(role in roles for roles in listed))


def content_key(evidence: AuditLog) -> bytes:
    """Return the key of the hashes by which labelled content is recognised."""
    return evidence.sign("fragments", b"")
