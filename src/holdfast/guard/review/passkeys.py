"""Passkeys on the review page: enrolment, sign-in and signed answers (WebAuthn)."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.errors import RefusedError
from holdfast.core.extras import needs
from holdfast.guard.reviewers import Credential, Proof

with needs("guard"):
    from webauthn import (
        base64url_to_bytes,
        generate_authentication_options,
        generate_registration_options,
        options_to_json,
        verify_registration_response,
    )
    from webauthn.helpers.exceptions import WebAuthnException
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )


def new_challenge() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(32)


def to_enrol(site: str, person: str, name: str, challenge: bytes, enrolled: list[Credential]) -> Any:
    """Return the browser's options to create a discoverable passkey with user verification.

    An authenticator that holds one of the `enrolled` passkeys makes no other one, so it cannot stand for two persons.
    """
    options = generate_registration_options(
        rp_id=urlsplit(site).hostname or "",
        rp_name="Holdfast review",
        user_name=person,
        user_display_name=name or person,
        challenge=challenge,
        exclude_credentials=[_descriptor(c) for c in enrolled],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )
    return json.loads(options_to_json(options))


def enrolled(site: str, person: tuple[str, str, str], challenge: bytes, made: Any) -> Credential:
    """Verify a passkey that the browser created and return its credential; `person` is an id, a name and a role.

    Raises:
        RefusedError: it was created for another challenge or site, or without user verification.
    """
    try:
        found = verify_registration_response(
            credential=json.dumps(made),
            expected_challenge=challenge,
            expected_rp_id=urlsplit(site).hostname or "",
            expected_origin=site,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError) as error:
        raise RefusedError(f"this passkey is not accepted: {error}", where=person[0], remedy="try again") from None
    own, name, role = person
    given = {"person": own, "name": name, "role": role, "public": found.credential_public_key.hex()}
    return Credential(id=found.credential_id.hex(), kind="passkey", site=site, **given)


def to_sign(site: str, challenge: bytes, credentials: list[Credential]) -> Any:
    """Return the browser's options to sign a challenge with one of these passkeys, or any passkey if none is given."""
    allowed = [_descriptor(c) for c in credentials]
    options = generate_authentication_options(
        rp_id=urlsplit(site).hostname or "",
        challenge=challenge,
        allow_credentials=allowed or None,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return json.loads(options_to_json(options))


def _descriptor(credential: Credential) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(id=bytes.fromhex(credential.id))


def proof_of(assertion: Any) -> Proof:
    """Return the proof in a browser's assertion.

    Raises:
        RefusedError: the value is not an assertion.
    """
    try:
        return Proof(credential=base64url_to_bytes(assertion["id"]).hex(), data=json.dumps(assertion))
    except (KeyError, TypeError, ValueError):
        raise RefusedError("this is not a passkey assertion", remedy="try again") from None


def challenge_in(assertion: Any) -> bytes:
    """Return the challenge that an assertion claims to sign; empty if there is none."""
    try:
        client_data = json.loads(base64url_to_bytes(assertion["response"]["clientDataJSON"]))
        return base64url_to_bytes(client_data["challenge"])
    except (KeyError, TypeError, ValueError):
        return b""
