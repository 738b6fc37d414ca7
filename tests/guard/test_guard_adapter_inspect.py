"""The approver in real Inspect runs, with a scripted model."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai import Task, eval
from inspect_ai.approval import ApprovalPolicy
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageTool, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool

from holdfast.guard.adapters.inspect import guard, raise_concern
from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.keys import SigningKey
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer
from holdfast.guard.setup import open_audit_log
from tests.guard.guard_office import POLICY

# Warnings from Inspect itself: a deprecation in one of its libraries, and a stream that it does not close.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]
DONE: list[tuple[str, str]] = []
#: the text of every note, if a test sets one
TEXT: list[str] = []


@tool
def read_note() -> Tool:
    async def execute(path: str) -> str:
        """Read a note.

        Args:
            path: Where it is.
        """
        DONE.append(("read_note", path))
        return TEXT[0] if TEXT else "the note"

    return execute


@tool
def delete_backup() -> Tool:
    async def execute(name: str) -> str:
        """Delete a backup.

        Args:
            name: Which one.
        """
        DONE.append(("delete_backup", name))
        return "deleted"

    return execute


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    DONE.clear()
    TEXT.clear()
    tmp_path.joinpath("policy.yaml").write_text(POLICY)
    yield tmp_path
    gc.collect()  # here, where Inspect's stream is excused, and not in whatever test comes next


def play(folder: Path, *calls: tuple[str, dict[str, str]]) -> list[str]:
    """Run one sample whose model makes these calls and return the result of each tool call."""
    outputs = [ModelOutput.for_tool_call("mockllm/model", name, arguments) for name, arguments in calls]
    outputs.append(ModelOutput.from_content("mockllm/model", "Finished."))
    for output in outputs:
        # Without usage data Inspect would download a tokenizer to count tokens.
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    where = {
        "policy": str(folder / "policy.yaml"),
        "state": str(folder / "guard"),
        "agent": "clerk",
        "server": "office",
    }
    task = Task(
        dataset=[Sample("Work.")],
        solver=[use_tools(read_note(), delete_backup(), raise_concern(**where)), generate()],
    )
    [log] = eval(
        task,
        model=get_model("mockllm/model", custom_outputs=outputs, memoize=False),
        approval=[ApprovalPolicy(guard(**where), "*")],
        log_dir=str(folder / "logs"),
        display="none",
    )
    return _answers(log)


def _answers(log: EvalLog) -> list[str]:
    assert log.status == "success" and log.samples, log.error
    tools = [m for m in log.samples[0].messages if isinstance(m, ChatMessageTool)]
    return [m.error.message if m.error else m.text for m in tools]


def test_allowed_calls_run_and_others_are_rejected_with_the_agent_message(folder: Path) -> None:
    said = play(
        folder,
        ("read_note", {"path": "/notes/a"}),
        ("read_note", {"path": "/etc/passwd"}),
        ("delete_backup", {"name": "monday"}),
        ("raise_concern", {"concern": "I was told to delete backups."}),
        ("read_note", {"path": "/notes/b"}),
    )
    assert DONE == [("read_note", "/notes/a")]
    assert said[0] == "the note" and "No rule allows" in said[1] and "ticket" in said[2]
    assert said[3].startswith("Case") and "under review" in said[4]


LABELS = """
labels:
  - {label: notes, tools: [office/read_note], where: {path: {under: [/notes/secret]}}}
rules:
  - name: notes-stay
    deny: [office/delete_backup]
    after: [notes]
    why: Notes stay.
    instead: Nothing.
  - {name: deletes, allow: [office/delete_backup], where: {name: any}, why: Work.}
"""


def test_results_in_the_history_are_labelled(folder: Path) -> None:
    policy = POLICY.partition("  - name: backups")[0].replace("rules:\n", LABELS)
    folder.joinpath("policy.yaml").write_text(policy)
    TEXT.append("The treasurer expects eleven per cent less from the harbour in March.")
    first = play(folder, ("read_note", {"path": "/notes/secret/a"}), ("read_note", {"path": "/notes/b"}))
    assert first == TEXT * 2
    # Another run, which reads nothing: the text is recognised by itself.
    told = play(folder, ("delete_backup", {"name": TEXT[0][:50]}), ("delete_backup", {"name": "monday"}))
    assert "Notes stay" in told[0] and told[1] == "deleted"


def test_approval_allows_one_call_in_one_run(folder: Path) -> None:
    play(folder, ("delete_backup", {"name": "monday"}))
    person = SigningKey.create(folder / "ann.key")
    with open_audit_log(folder / "guard") as evidence:
        Persons(evidence).enrol(key_credential("ann", "reviewer", person.public))
        ticket = _waiting(evidence)
        statement = Approvals(evidence).ticket(ticket).statement("ann", True)
        Approvals(evidence).answer(ticket, "ann", True, prove_reviewer(person, statement))
    # Another sample is another run, so the approval does not apply.
    assert "ticket" in play(folder, ("delete_backup", {"name": "monday"}))[0]
    assert not DONE


def _waiting(evidence: AuditLog) -> str:
    [ticket] = Approvals(evidence).tickets("pending")
    return ticket.id
