"""Enrolled persons and the proofs of their answers.

A person signs with a passkey (WebAuthn, on the review page) or with a passphrase-protected key (in a terminal). The
guard signs every enrolment, so a row inserted into the file is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Literal
from urllib.parse import urlsplit

from holdfast.core.errors import RefusedError
from holdfast.core.extras import needs
from holdfast.core.identity import canonical
from holdfast.core.records import Record
from holdfast.guard.audit_log import AuditLog
from holdfast.guard.ids import likeness
from holdfast.guard.keys import SigningKey, verify_signature
from holdfast.guard.names import Names, check_form, person_names, refuse_alike, role_name

_SCHEMA = """CREATE TABLE IF NOT EXISTS credentials (
    id TEXT PRIMARY KEY, person TEXT NOT NULL, body TEXT NOT NULL, signature BLOB NOT NULL
)"""


class Credential(Record):
    """A passkey or key that identifies a person.

    Attributes:
        id: the passkey's id, or the public key, in hexadecimal.
        person: the person's id; see `ids`.
        name: the person's name for display.
        public: COSE key of a passkey, or the 32 bytes of a key, in hexadecimal.
        site: origin at which the passkey was created; it is valid only there.
    """

    id: str
    person: str
    role: str
    kind: Literal["passkey", "key"]
    public: str
    site: str = ""
    name: str = ""

    def same_authenticator(self, other: Credential) -> bool:
        """Return whether two credentials are one authenticator."""
        return self.id == other.id or self.public == other.public


class Proof(Record):
    """A person's proof of one statement: a signature, or a WebAuthn assertion as JSON."""

    credential: str
    data: str


class Persons:
    """The enrolled persons.

    Args:
        store: the guard's audit log, whose key signs enrolments.
    """

    def __init__(self, store: AuditLog) -> None:
        self._store, self._names = store, Names(store)
        with store.transaction() as db:
            db.execute(_SCHEMA)

    def enrol(self, credential: Credential) -> None:
        """Enrol a credential. The caller holds the guard's key and has checked the admin code.

        Raises:
            RefusedError: the person's id is not an id; the id, name or role looks like that of another person, agent or
                role that exists or existed; the person has another name; or the authenticator is enrolled already.
        """
        names = [*person_names(credential.person, credential.name), role_name(credential.role)]
        body = canonical(credential)
        with self._store.transaction() as db:
            self._names.note(names)
            for known in self.credentials():
                if known.same_authenticator(credential):
                    what = f"this authenticator is enrolled already, for {known.person}"
                    raise RefusedError(what, where=credential.person, remedy="use another one")
                if known.person == credential.person and known.name != credential.name:
                    what = f"{known.person} is enrolled with the name '{known.name}'"
                    raise RefusedError(what, where=credential.person, remedy="give the same name, or another id")
            signature = self._store.sign("credential", body.encode())
            row = (credential.id, credential.person, body, signature)
            db.execute("INSERT INTO credentials VALUES (?, ?, ?, ?)", row)
            self._store.append("enrolled", {"credential": json.loads(body)}, durable=True)

    def check_names(self, person: str, name: str, role: str) -> None:
        """Check whether a person could be enrolled under these names, without enrolling anybody.

        Raises:
            RefusedError: see `enrol`.
        """
        known = self._names.known()
        for given in (*person_names(person, name), role_name(role)):
            check_form(given)
            refuse_alike(given, known)

    def credentials(self, person: str | None = None) -> list[Credential]:
        """Return the credentials of all persons or of one id; rows without the guard's signature are ignored."""
        rows = self._store.read("SELECT * FROM credentials WHERE ?1 IS NULL OR person = ?1", person)
        ours = (r for r in rows if self._store.signed("credential", r["body"].encode(), r["signature"]))
        return [Credential.model_validate_json(row["body"]) for row in ours]

    def check(self, person: str, statement: bytes, proof: Proof) -> Credential:
        """Verify that this person made this statement (32 bytes), and return the credential.

        Raises:
            RefusedError: the person has no such credential, or the proof belongs to another statement.
        """
        credential = next((c for c in self.credentials(person) if c.id == proof.credential), None)
        if credential is None:
            raise RefusedError("no such credential", where=person, remedy="enrol it, or sign in as yourself")
        if credential.kind == "key":
            good = verify_signature(bytes.fromhex(credential.public), "answer", statement, _unhex(proof.data))
        else:
            good = asserted(credential, statement, proof.data)
        if not good:
            raise RefusedError("the proof does not match the answer", where=person, remedy="answer again")
        return credential

    def check_independent(self, person: str, credential: Credential, others: Collection[str]) -> None:
        """Check that a person is none of some others, by id and by authenticator.

        Raises:
            RefusedError: the ids look alike, or the credential is one of theirs.
        """
        theirs = {likeness(other) for other in others}
        if likeness(person) in theirs:
            raise RefusedError(f"{person} may not answer here", where=person, remedy="ask another person")
        for known in self.credentials():
            if likeness(known.person) in theirs and known.same_authenticator(credential):
                what = f"this authenticator belongs to {known.person}, who may not answer here"
                raise RefusedError(what, where=person, remedy="ask another person")


def key_credential(person: str, role: str, public: bytes, name: str = "") -> Credential:
    """Return the credential of a person who answers in a terminal."""
    return Credential(id=public.hex(), person=person, role=role, kind="key", public=public.hex(), name=name)


def prove_reviewer(key: SigningKey, statement: bytes) -> Proof:
    """Sign a statement with a person's key."""
    return Proof(credential=key.public.hex(), data=key.sign("answer", statement).hex())


def asserted(credential: Credential, challenge: bytes, assertion: str) -> bool:
    """Return whether a passkey signed this challenge at its own site, with user verification.

    Raises:
        PrerequisiteError: webauthn is not installed.
    """
    with needs("guard"):
        from webauthn import verify_authentication_response
        from webauthn.helpers.exceptions import WebAuthnException
    try:
        verify_authentication_response(
            credential=assertion,
            expected_challenge=challenge,
            expected_rp_id=urlsplit(credential.site).hostname or "",
            expected_origin=credential.site,
            credential_public_key=bytes.fromhex(credential.public),
            # The statement contains the ticket's nonce, so a proof is valid once; a counter would prevent re-checking.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError):
        return False
    return True


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
