"""Passkeys on the review page: enrolling one, signing in with one, and answering with one."""

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
    """32 random bytes."""
    return secrets.token_bytes(32)


def to_enrol(site: str, person: str, challenge: bytes) -> Any:
    """What the browser is asked, to make a passkey that knows its owner and proves that it was the owner."""
    options = generate_registration_options(
        rp_id=urlsplit(site).hostname or "",
        rp_name="Holdfast review",
        user_name=person,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )
    return json.loads(options_to_json(options))


def enrolled(site: str, person: str, role: str, challenge: bytes, made: Any) -> Credential:
    """The credential that the browser made.

    Raises:
        RefusedError: it was made for another challenge or site, or its owner was not verified.
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
        raise RefusedError(f"this passkey is not accepted: {error}", where=person, remedy="try again") from None
    public = found.credential_public_key.hex()
    return Credential(id=found.credential_id.hex(), person=person, role=role, kind="passkey", public=public, site=site)


def to_sign(site: str, challenge: bytes, credentials: list[Credential]) -> Any:
    """What the browser is asked, to sign a challenge with one of these passkeys; with any if there are none."""
    allowed = [PublicKeyCredentialDescriptor(id=bytes.fromhex(c.id)) for c in credentials]
    options = generate_authentication_options(
        rp_id=urlsplit(site).hostname or "",
        challenge=challenge,
        allow_credentials=allowed or None,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return json.loads(options_to_json(options))


def proof_of(assertion: Any) -> Proof:
    """The proof in what the browser signed.

    Raises:
        RefusedError: it is no assertion.
    """
    try:
        return Proof(credential=base64url_to_bytes(assertion["id"]).hex(), data=json.dumps(assertion))
    except (KeyError, TypeError, ValueError):
        raise RefusedError("this is no passkey's answer", remedy="try again") from None


def challenge_in(assertion: Any) -> bytes:
    """The challenge that an assertion says it signed; empty where it says none."""
    try:
        said = json.loads(base64url_to_bytes(assertion["response"]["clientDataJSON"]))
        return base64url_to_bytes(said["challenge"])
    except (KeyError, TypeError, ValueError):
        return b""
