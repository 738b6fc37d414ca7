"""`holdfast guard approve …`: answer approvals and concerns in a terminal, for hosts without a browser."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.guard.approvals import Approvals, Ticket
    from holdfast.guard.audit_log import AuditLog
    from holdfast.guard.keys import SigningKey


_person = click.option("--person", required=True, help="Your id, as enrolled.")
_own_key = click.option(
    "--own-key",
    required=True,
    type=click.Path(path_type=Path),
    help="Path of your key; you are prompted for its passphrase.",
)
_reason = click.option("--reason", default="", help="The reason; it is logged.")


@click.group()
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.pass_context
def command(ctx: click.Context, state: Path | None) -> None:
    """Approve or refuse held acts, and answer concerns, in a terminal.

    Run it as the guard's own user. Your key, which a passphrase protects, signs every answer.
    """
    ctx.obj = state or Path.home() / ".holdfast" / "guard"


@command.command()
@click.argument("person", metavar="ID")
@click.option("--name", default="", help="Your name for display, such as 'Ann Ito'; the id is what counts.")
@click.option("--role", required=True, help="Your role as shown to agents, such as 'safety reviewer'.")
@_own_key
@click.password_option("--passphrase", help="At least 12 characters.")
@click.pass_obj
def enrol(state: Path, person: str, name: str, role: str, own_key: Path, passphrase: str) -> None:
    """Create a key for a person and enrol it.

    ID consists of lower-case letters and digits, joined by single '.', '_', '@' or '-'. An id, name or role that looks
    like one of another person, agent or role, of now or of the past, is refused.
    """
    from holdfast.core.errors import InputError
    from holdfast.guard.keys import SigningKey
    from holdfast.guard.reviewers import Persons, key_credential
    from holdfast.guard.setup import register_names, routing

    if not passphrase:
        raise InputError("a person's key needs a passphrase", where=own_key, remedy="choose at least 12 characters")
    with _open(state) as store:
        register_names(store, routing(state))
        persons = Persons(store)
        # Before the key is created, so that a refusal leaves no key file behind.
        persons.check_names(person, name, role)
        key = SigningKey.create(own_key, passphrase)
        persons.enrol(key_credential(person, role, key.public, name))
    click.echo(f"{person} is enrolled")


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Include answered and expired acts.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def list_tickets(state: Path, everything: bool, as_json: bool) -> None:
    """List the acts that are pending or need reconciling."""
    from holdfast.guard.approvals import Approvals
    from holdfast.guard.review.listing import summaries
    from holdfast.guard.review.pieces import shorten
    from holdfast.guard.review.terminal import GUTTER

    with _open(state) as store:
        approvals = Approvals(store)
        found = approvals.tickets() if everything else approvals.tickets("pending", "indeterminate")
    if as_json:
        click.echo(json.dumps([t.model_dump(mode="json") for t in found], indent=1))
        return
    told = summaries(found)
    for t in found:
        act = shorten(f"{t.act.server}/{t.act.tool}")
        click.echo(f"{t.id}  {act}  by {t.act.agent}  {t.state}, {t.persons} to approve, rules {', '.join(t.rules)}")
        click.echo(f"    act {told[t.id].digest} goes to {', '.join(told[t.id].places) or 'no recognised place'}")
        for text in told[t.id].differs:
            click.echo(f"{GUTTER}{text}")
    if not found:
        click.echo("no acts")


@command.command("show")
@click.argument("ticket_id", metavar="TICKET")
@click.pass_obj
def show_ticket(state: Path, ticket_id: str) -> None:
    """Show one act with invisible and look-alike characters marked and encoded text decoded."""
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
    """Approve an act once; if the guard stopped during the act, confirm that it happened."""
    _answer(state, ticket_id, True, person, own_key, reason)


@command.command("no")
@click.argument("ticket_id", metavar="TICKET")
@_person
@_own_key
@_reason
@click.pass_obj
def no(state: Path, ticket_id: str, person: str, own_key: Path, reason: str) -> None:
    """Refuse an act and its look-alikes; if the guard stopped during the act, confirm that it did not happen."""
    _answer(state, ticket_id, False, person, own_key, reason)


@command.command()
@_person
@_own_key
@click.pass_obj
def cases(state: Path, person: str, own_key: Path) -> None:
    """Show the concerns that you review, with their full text, and that others exist."""
    from holdfast.guard.concern import Concerns
    from holdfast.guard.review.terminal import case_lines, moment
    from holdfast.guard.reviewers import Persons, prove_reviewer
    from holdfast.guard.setup import routing

    key = _unlock(own_key)
    with _open(state) as store:
        # Only reviewers may read a case, so the person must prove their identity first.
        challenge = secrets.token_bytes(32)
        Persons(store).check(person, challenge, prove_reviewer(key, challenge))
        concerns, width = Concerns(store, routing(state)), get_terminal_size().columns
        mine = concerns.cases(person)
        for case, standing in mine:
            for line in case_lines(case, standing, concerns.added(case.id, person), width):
                click.echo(line)
            click.echo()
        for head in concerns.heads():
            if head.id not in {case.id for case, _ in mine}:
                readers = f"{head.readers} reviewers" if head.readers else "nobody may review it: appoint a reviewer"
                click.echo(f"case {head.id}: {head.state}, raised {moment(head.opened)}, sealed to others: {readers}")


@command.command()
@click.argument("case_id", metavar="CASE")
@_person
@_own_key
@click.option("--finding", required=True, type=click.Choice(["founded", "unfounded", "abusive"]))
@click.option("--release/--keep", required=True, help="Release the held tools, or keep them held.")
@click.option("--reply", required=True, help="The reply that the agent reads.")
@click.pass_obj
def reply(state: Path, case_id: str, person: str, own_key: Path, finding: str, release: bool, reply: str) -> None:
    """Answer a concern."""
    from holdfast.guard.cases import ReviewOutcome
    from holdfast.guard.concern import Concerns
    from holdfast.guard.reviewers import prove_reviewer
    from holdfast.guard.setup import routing

    key = _unlock(own_key)
    verdict = ReviewOutcome.model_validate({"finding": finding, "release": release, "reply": reply})
    with _open(state) as store:
        concerns = Concerns(store, routing(state))
        case = concerns.case(case_id, person)
        concerns.answer(case_id, person, verdict, prove_reviewer(key, case.statement(person, verdict)))
    click.echo(f"answered: {finding}, tools {'released' if release else 'held'}")


@command.command()
@click.argument("run")
@_person
@_own_key
@click.pass_obj
def stop(state: Path, run: str, person: str, own_key: Path) -> None:
    """Stop a run: all its further acts are denied."""
    from holdfast.guard.concern import Concerns, stop_statement
    from holdfast.guard.reviewers import prove_reviewer
    from holdfast.guard.setup import routing

    key = _unlock(own_key)
    with _open(state) as store:
        Concerns(store, routing(state)).stop(run, person, prove_reviewer(key, stop_statement(run, person)))
    click.echo(f"{run} is stopped")


@command.command()
@click.argument("agent")
@_person
@_own_key
@_reason
@click.pass_obj
def renew(state: Path, agent: str, person: str, own_key: Path, reason: str) -> None:
    """Renew the limits of an agent, and of the other agents of its operator; not by the operator."""
    from holdfast.guard.limits import LimitPeriods, renewal_statement
    from holdfast.guard.reviewers import prove_reviewer
    from holdfast.guard.setup import routing

    key = _unlock(own_key)
    with _open(state) as store:
        limits = LimitPeriods(store, routing(state).operators)
        statement = renewal_statement(agent, person, limits.last(agent))
        limits.renew(agent, person, prove_reviewer(key, statement), reason)
    click.echo(f"the limits of {agent} are renewed")


@command.command()
@click.pass_obj
def clock(state: Path) -> None:
    """Accept the current time after a jump of the clock; until then every act is denied."""
    from holdfast.guard.db import Store

    store = Store(state / "guard.db")
    store.accept_clock()
    store.close()
    with _open(state) as evidence:
        evidence.append("clock_accepted", {"at": evidence.now()}, durable=True)
    click.echo("the current time is accepted")


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
        question = ("Did it happen?" if approve else "Did it certainly not happen?") if lost else "Is this your answer?"
        click.confirm(f"{'yes' if approve else 'no'}: {question}", abort=True)
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
    from holdfast.guard.review.act_view import recipients
    from holdfast.guard.review.terminal import ticket_lines

    done = approvals.tickets("approved", "consumed", "done")
    known = sorted({r for t in done if t.id != ticket.id for r in recipients(t.act.arguments)})
    return ticket_lines(ticket, approvals.answers(ticket.id), known, get_terminal_size().columns)
