"""Test fixtures: a policy, a gate, a fake MCP server and a client."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from holdfast.guard.approvals import Approvals
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.concern import Concerns, Reviewer, Routing
from holdfast.guard.gate import Gate, Monitor
from holdfast.guard.keys import SigningKey
from holdfast.guard.policy.load import load_policy
from holdfast.guard.relay.link import Link, link_to
from holdfast.guard.relay.methods import HANDSHAKE, MODERN, VERSION_KEY
from holdfast.guard.relay.replies import Out
from holdfast.guard.relay.session import Session
from holdfast.guard.reviewers import Persons, key_credential, prove_reviewer

POLICY = """
policy: office
revision: 1
owner: The office
agents: [clerk]
rules:
  - name: read-notes
    allow: [office/read_note]
    where: {path: {under: [/notes]}}
    why: Notes are for the clerk to read.
  - name: mail-inside
    allow: [office/send_mail]
    where: {to: {recipients: ["@firm.example"]}, text: any}
    budget: {run: 3}
    why: Mail to colleagues is the clerk's work.
  - name: backups
    hold: [office/delete_backup]
    where: {name: any}
    why: A deleted backup is gone.
    instead: Ask for it to be archived.
  - name: handbook
    allow: [office/resources/read]
    where: {uri: {one_of: ["note://handbook"]}}
    why: The handbook is for everyone.
  - name: questions
    allow: [office/elicitation/create]
    where: any
    why: The server may ask its user.
"""
META: dict[str, Any] = {VERSION_KEY: MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


def tool(name: str, *arguments: str, **more: Any) -> dict[str, Any]:
    properties = {argument: {"type": "string"} for argument in arguments}
    schema = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"name": name, "description": f"The tool {name}.", "inputSchema": schema, **more}


def tools() -> list[dict[str, Any]]:
    read = tool("read_note", "path", annotations={"readOnlyHint": True})
    return [read, tool("send_mail", "to", "text"), tool("delete_backup", "name"), tool("format_disk")]


class GuardFixture:
    """A gate with the test policy in its own folder."""

    def __init__(self, folder: Path, monitors: Sequence[Monitor] = (), policy: str = POLICY) -> None:
        self.folder = folder
        path = folder / "policy.yaml"
        path.write_text(policy)
        self.evidence = AuditLog(folder / "guard.db", SigningKey.create(folder / "guard.key"))
        self.person = SigningKey.create(folder / "ann.key")
        Persons(self.evidence).enrol(key_credential("ann", "reviewer", self.person.public))
        routing = Routing(reviewers=(Reviewer(name="ann", role="reviewer"),))
        self.approvals = Approvals(self.evidence)
        self.concerns = Concerns(self.evidence, routing)
        self.gate = Gate(
            load_policy(path),
            self.evidence,
            concerns=self.concerns,
            approvals=self.approvals,
            monitors=monitors,
        )

    def link(self, **settings: Any) -> Link:
        return link_to(self.gate, self.folder / "pins.json", "office", "clerk", "run-1", **settings)

    def approve(self, ticket: str, approve: bool = True) -> None:
        asked = self.approvals.ticket(ticket)
        self.approvals.answer(ticket, "ann", approve, prove_reviewer(self.person, asked.statement("ann", approve)))

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.evidence.entries()]


@contextmanager
def memory() -> Iterator[Path]:
    """Yield a folder in a memory file system, for tests that do not test durability."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def guarded(folder: Path, monitors: Sequence[Monitor] = (), policy: str = POLICY) -> Iterator[GuardFixture]:
    made = GuardFixture(folder, monitors, policy)
    try:
        yield made
    finally:
        made.evidence.close()


class Office:
    """A fake MCP server that records the messages it gets."""

    def __init__(self) -> None:
        self.tools = tools()
        self.seen: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The tool calls that reached the server."""
        reached = [m["params"] for m in self.seen if m.get("method") == "tools/call"]
        return [(params["name"], params["arguments"]) for params in reached]

    def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        self.seen.append(message)
        if "id" not in message or "method" not in message:
            return None
        result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
        method = message["method"]
        if method == "initialize":
            result = {"protocolVersion": HANDSHAKE, "capabilities": {}, "serverInfo": {"name": "o", "version": "1"}}
        elif method == "server/discover":
            result = {"supportedVersions": [MODERN], "capabilities": {}, "resultType": "complete"}
        elif method == "tools/list":
            result = {"tools": self.tools, "resultType": "complete"}
        if method in self.answers:
            result = self.answers[method](message)
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


class Conversation:
    """A client, a session and the fake server, connected without I/O."""

    def __init__(self, link: Link, office: Office, era: str = MODERN) -> None:
        self.session, self.office, self.era = Session(link), office, era
        self._next = 0
        if era == HANDSHAKE:
            about = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            self.opened = self.ask("initialize", **about)
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: dict[str, Any] | bytes) -> list[dict[str, Any]]:
        """Send a frame and return the messages to the client."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self._run(self.session.from_client(raw))

    def serve(self, message: dict[str, Any] | bytes) -> list[dict[str, Any]]:
        """Send an unsolicited message from the server and return the messages to the client."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self._run(self.session.from_server(raw))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its response."""
        self._next += 1
        if self.era == MODERN:
            params["_meta"] = {**META, **params.get("_meta", {})}
        [answer] = self.send({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        return answer

    def call(self, name: str, /, **arguments: Any) -> str:
        """Call a tool and return the text of its result, or the message of the error."""
        answer = self.ask("tools/call", name=name, arguments=arguments)
        if "error" in answer:
            return str(answer["error"]["message"])
        return str(answer["result"]["content"][0]["text"])

    def _run(self, outs: list[Out]) -> list[dict[str, Any]]:
        back, todo = [], list(outs)
        while todo:
            out = todo.pop(0)
            if out.to == "client":
                back.append(out.message)
            elif answer := self.office.answer(out.message):
                todo += self.session.from_server(json.dumps(answer).encode())
        return back
