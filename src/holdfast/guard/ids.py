"""Ids of persons and agents: a strict form, and a key by which names that look alike are found.

An id consists of lower-case ASCII letters and digits, joined by single full stops, underscores, `@` or hyphens. This is
a subset of the profile UsernameCaseMapped of PRECIS (RFC 8265): an id has one spelling, no space and no letter of
another script. Names for display are free text and are kept apart from ids.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

from holdfast.detectors.confusables import skeleton

_ID = r"^[a-z0-9]+(?:[._@-][a-z0-9]+)*$"
LONGEST_ID = 64
ID_FORM = f"lower-case ASCII letters and digits, joined by single '.', '_', '@' or '-', at most {LONGEST_ID} characters"
PersonId = Annotated[str, StringConstraints(pattern=_ID, max_length=LONGEST_ID)]
AgentId = Annotated[str, StringConstraints(pattern=_ID, max_length=LONGEST_ID)]
_SEPARATORS = re.compile(r"[\W_]+")
#: Two letters that look like one in most typefaces. A skeleton has "i" for "l".
_PAIRS = (("ci", "d"), ("cl", "d"))
#: Digits that are written for letters, before a letter; a digit at the end is a number. A skeleton has 0 and 1 already.
_DIGITS = dict(zip("345678", "easbtb", strict=True))
_IN_WORD = re.compile(r"(?<!\d)[345678](?=[^\W\d_])")


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id."""
    return len(text) <= LONGEST_ID and re.fullmatch(_ID[1:-1], text) is not None


def likeness(text: str) -> str:
    """Return a key that is equal for names which a person could take for one another.

    Beyond `skeleton`, spaces, punctuation and symbols are removed: "ann lee", "Ann-Lee" and "annlee" are one name.
    """
    before, now = None, text
    while now != before:
        spelt = _IN_WORD.sub(lambda digit: _DIGITS[digit[0]], skeleton(now))
        before, now = now, skeleton(_SEPARATORS.sub("", spelt))
        for pair, letter in _PAIRS:
            now = now.replace(pair, letter)
    return now
