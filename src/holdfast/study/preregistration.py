"""Claims are written down before the first cell is measured: `claims.json`, with the date and the study they stood in.

A claim that is not in it, or was put there once results existed, may still be judged, but nobody may take it for a
prediction.  A claim that was there and has left the study file is judged all the same: losses stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from holdfast.core.errors import ResultsError
from holdfast.core.identity import key_of
from holdfast.core.records import Record
from holdfast.core.store import write_text
from holdfast.study.study_file import ClaimSpec, Design

CLAIMS = "claims.json"
Standing = Literal["written first", "added after measuring", "removed after measuring"]


class Written(Record):
    """A claim as it was put down: when (UTC), the hash of the study's content, and whether nothing was measured yet."""

    claim: ClaimSpec
    when: str
    study: str
    first: bool


class Register(Record):
    """The claims of a results folder, in the order in which they were put down."""

    claims: tuple[Written, ...] = ()

    def standing(self, claims: Sequence[ClaimSpec]) -> list[tuple[ClaimSpec, Standing]]:
        """The claims of a study file and where each stands, then those put down first that the file has lost."""
        first = [written.claim for written in self.claims if written.first]
        kept: list[tuple[ClaimSpec, Standing]] = [
            (claim, "written first" if claim in first else "added after measuring") for claim in claims
        ]
        return [*kept, *((claim, "removed after measuring") for claim in first if claim not in claims)]


def register(study: Design, out: Path) -> Register:
    """Put the claims of a study down in `out`, before anything else is done.

    While nothing is measured the register is written anew; afterwards it only grows.

    Raises:
        ResultsError: `claims.json` is not one of ours.
        StoreError: it cannot be written.
    """
    measured = any(out.glob("cells/*/verdicts.jsonl"))
    before = read_register(out).claims if measured else ()
    known = [written.claim for written in before]
    now, key = datetime.now(UTC).isoformat(timespec="seconds"), key_of(study)
    new = [Written(claim=claim, when=now, study=key, first=not measured) for claim in study.claims]
    found = Register(claims=(*before, *(written for written in new if written.claim not in known)))
    if found != read_register(out) or not (out / CLAIMS).is_file():
        write_text(out / CLAIMS, found.model_dump_json(indent=1) + "\n")
    return found


def read_register(out: Path) -> Register:
    """The register in `out`; an empty one where there is none.

    Raises:
        ResultsError: `claims.json` is not one of ours.
    """
    path = out / CLAIMS
    if not path.is_file():
        return Register()
    try:
        return Register.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise ResultsError("not a register of claims", where=path, remedy="put it back as it was written") from None
