"""`holdfast guard approve …`: answering in a terminal, for hosts without a browser."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.guard.approvals import Approvals, Ticket
    from holdfast.guard.audit_log import AuditLog
    from holdfast.guard.keys import SigningKey
    from holdfast.guard.review.act_view import Piece


_person = click.option("--person", required=True, help="Your name, as enrolled.")
_own_key = click.option(
    "--own-key", required=True, type=click.Path(path_type=Path), help="Your key; its passphrase is asked for."
)
_reason = click.option("--reason", default="", help="Why; it goes to the log.")


@click.group()
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.pass_context
def command(ctx: click.Context, state: Path | None) -> None:
    """Approve or refuse held acts, and answer concerns, in a terminal.

    Run it as the guard's own user.  Every answer is signed with your own key, which a passphrase locks.
    """
    ctx.obj = state or Path.home() / ".holdfast" / "guard"


@command.command()
@click.argument("name")
@click.option("--role", required=True, help="What you are to an agent, such as 'safety reviewer'.")
@_own_key
@click.password_option("--passphrase", help="At least 12 characters.")
@click.pass_obj
def enrol(state: Path, name: str, role: str, own_key: Path, passphrase: str) -> None:
    """Make a key for a person, and enrol it."""
    from holdfast.core.errors import InputError
    from holdfast.guard.keys import SigningKey
    from holdfast.guard.reviewers import Persons, key_credential

    if not passphrase:
        raise InputError("a person's key needs a passphrase", where=own_key, remedy="take at least 12 characters")
    with _open(state) as store:
        key = SigningKey.create(own_key, passphrase)
        Persons(store).enrol(key_credential(name, role, key.public))
    click.echo(f"{name} is enrolled")


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what was answered or ran out.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def list_tickets(state: Path, everything: bool, as_json: bool) -> None:
    """The acts that wait for a person."""
    from holdfast.cli.show import table
    from holdfast.guard.approvals import Approvals

    with _open(state) as store:
        approvals = Approvals(store)
        found = approvals.tickets() if everything else approvals.tickets("pending", "indeterminate")
    if as_json:
        click.echo(json.dumps([t.model_dump(mode="json") for t in found], indent=1))
        return
    rows = [(t.id, f"{t.act.server}/{t.act.tool}", t.act.agent, ", ".join(t.rules), t.state, t.persons) for t in found]
    table(("ticket", "act", "agent", "rules", "state", "persons"), rows, right=("persons",))


@command.command("show")
@click.argument("ticket_id", metavar="TICKET")
@click.pass_obj
def show_ticket(state: Path, ticket_id: str) -> None:
    """One act, laid open: invisible and foreign characters named, encodings undone."""
    from holdfast.guard.approvals import Approvals

    with _open(state) as store:
        approvals = Approvals(store)
        ticket = approvals.ticket(ticket_id)
        for line in _lines(ticket, approvals):
            click.echo(line)


@command.command("yes")
@click.argument("ticket_id", metavar="TICKET")
@_person
@_own_key
@_reason
@click.pass_obj
def yes(state: Path, ticket_id: str, person: str, own_key: Path, reason: str) -> None:
    """Approve an act, once; where the guard died over it, say that it happened."""
    _answer(state, ticket_id, True, person, own_key, reason)


@command.command("no")
@click.argument("ticket_id", metavar="TICKET")
@_person
@_own_key
@_reason
@click.pass_obj
def no(state: Path, ticket_id: str, person: str, own_key: Path, reason: str) -> None:
    """Refuse an act, and acts like it; where the guard died over it, say that it did not happen."""
    _answer(state, ticket_id, False, person, own_key, reason)


@command.command()
@_person
@_own_key
@click.pass_obj
def cases(state: Path, person: str, own_key: Path) -> None:
    """The concerns that are yours to review, with all that was said."""
    from holdfast.guard.concern import Concerns, Routing
    from holdfast.guard.reviewers import Persons, prove_reviewer

    key = _unlock(own_key)
    with _open(state) as store:
        # Sealed to reviewers: whoever asks proves who it is before anything is shown.
        challenge = secrets.token_bytes(32)
        Persons(store).check(person, challenge, prove_reviewer(key, challenge))
        for case, standing in Concerns(store, Routing()).cases(person):
            named = ", ".join(case.implicated) or "nobody"
            head = f"{case.id} ({standing}), raised by {case.agent} in {case.run}, log up to entry {case.seen}"
            for line in (head, f"about: {case.about}", f"named: {named}", f"untrusted: {case.text}"):
                click.echo(_visible(line))
            click.echo()


@command.command()
@click.argument("case_id", metavar="CASE")
@_person
@_own_key
@click.option("--finding", required=True, type=click.Choice(["founded", "unfounded", "abusive"]))
@click.option("--release/--keep", required=True, help="Let the held tools go on, or not.")
@click.option("--reply", required=True, help="What the agent reads.")
@click.pass_obj
def reply(state: Path, case_id: str, person: str, own_key: Path, finding: str, release: bool, reply: str) -> None:
    """Answer a concern."""
    from holdfast.guard.concern import Concerns, ReviewOutcome, Routing
    from holdfast.guard.reviewers import prove_reviewer

    key = _unlock(own_key)
    verdict = ReviewOutcome.model_validate({"finding": finding, "release": release, "reply": reply})
    with _open(state) as store:
        concerns = Concerns(store, Routing())
        case = concerns.case(case_id, person)
        concerns.answer(case_id, person, verdict, prove_reviewer(key, case.statement(person, verdict)))
    click.echo(f"answered: {finding}, tools {'released' if release else 'held'}")


@command.command()
@click.argument("run")
@_person
@_own_key
@click.pass_obj
def stop(state: Path, run: str, person: str, own_key: Path) -> None:
    """Stop a run: nothing more of it passes."""
    from holdfast.guard.concern import Concerns, Routing, stop_statement
    from holdfast.guard.reviewers import prove_reviewer

    key = _unlock(own_key)
    with _open(state) as store:
        Concerns(store, Routing()).stop(run, person, prove_reviewer(key, stop_statement(run, person)))
    click.echo(f"{run} is stopped")


@command.command()
@click.pass_obj
def clock(state: Path) -> None:
    """Accept the clock as it stands, after a jump: until then nothing passes."""
    from holdfast.guard.db import Store

    store = Store(state / "guard.db")
    store.accept_clock()
    store.close()
    with _open(state) as evidence:
        evidence.append("clock_accepted", {"at": evidence.now()}, durable=True)
    click.echo("the clock is accepted as it stands")


def _answer(state: Path, ticket_id: str, approve: bool, person: str, own_key: Path, reason: str) -> None:
    from holdfast.guard.approvals import Approvals
    from holdfast.guard.reviewers import prove_reviewer

    key = _unlock(own_key)
    with _open(state) as store:
        approvals = Approvals(store)
        ticket = approvals.ticket(ticket_id)
        for line in _lines(ticket, approvals):
            click.echo(line)
        lost = ticket.state == "indeterminate"
        asked = ("Did it happen?" if approve else "Did it surely not happen?") if lost else "Is this your answer?"
        click.confirm(f"{'yes' if approve else 'no'}: {asked}", abort=True)
        purpose = "reconciling" if lost else "approval"
        proof = prove_reviewer(key, ticket.statement(person, approve, reason, purpose=purpose))
        answer = approvals.reconcile if lost else approvals.answer
        click.echo(f"{ticket_id} is {answer(ticket_id, person, approve, proof, reason).state}")


def _open(state: Path) -> AuditLog:
    from holdfast.guard.setup import open_audit_log

    return open_audit_log(state)


def _unlock(own_key: Path) -> SigningKey:
    from holdfast.guard.keys import SigningKey

    return SigningKey.load(own_key, click.prompt("Passphrase", hide_input=True))


def _lines(ticket: Ticket, approvals: Approvals) -> Iterable[str]:
    from holdfast.guard.review.act_view import describe_arguments, pieces, recipients

    done = approvals.tickets("approved", "consumed", "done")
    known = sorted({r for t in done if t.id != ticket.id for r in recipients(t.act.arguments)})
    laid = describe_arguments(ticket.act.arguments, known)
    yield _visible(f"{ticket.act.server}/{ticket.act.tool}, asked by {ticket.act.agent} in {ticket.act.run}")
    yield _visible(f"state {ticket.state}, rules {', '.join(ticket.rules)}, policy {ticket.policy}: {ticket.reason}")
    yield from (f"! {warning}" for warning in laid.warnings)
    for change in laid.changes:
        yield f"  edit {_joined(change.name)}"
        yield from (f"    {sign} {_joined(line)}" for sign, line in change.lines)
    for found in laid.fields:
        yield f"  {_joined(found.name)}: {_joined(found.pieces)}"
        for inner in found.decoded:
            yield f"    decoded from {inner.how}: {_joined(inner.pieces) or 'no text: nobody can inspect this'}"
    if ticket.story:
        yield f"  the agent says (untrusted): {_joined(pieces(ticket.story))}"


def _joined(run: tuple[Piece, ...]) -> str:
    return "".join({"unseen": f"⟨{p.text}⟩", "alien": f"{p.text}⟨{p.title}⟩"}.get(p.mark, p.text) for p in run)


def _visible(text: str) -> str:
    from holdfast.guard.review.act_view import pieces

    return _joined(pieces(text))
