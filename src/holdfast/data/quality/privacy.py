"""Find personal data: e-mail addresses, telephone numbers, payment cards and bank accounts that could be real.

Addresses are validated by email-validator (domains reserved for examples are ignored), telephone numbers by
phonenumbers (Google's libphonenumber), cards and accounts by their check digits. Names are not searched for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.core.extras import needs
from holdfast.core.records import Example
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.findings import Findings, Tally

#: Regions whose national telephone numbers are recognised in addition to international ones.
REGIONS = ("US", "GB")
_MAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
#: Domains reserved for examples (RFC 2606).
_EXAMPLE = re.compile(r"[@.]example(\.(com|net|org))?\.?$")
_DIGITS = re.compile(r"\d(?:[\s().-]{0,2}\d){6}")
_CARD = re.compile(r"(?<![\d-])(?:\d[ -]?){12,18}\d(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")


class PrivacyTally:
    """Finds personal data in a stream of examples.

    Raises:
        PrerequisiteError: phonenumbers or email-validator is not installed.
    """

    def __init__(self) -> None:
        with needs("teach"):
            import email_validator
            import phonenumbers
        self._mails, self._phones = email_validator, phonenumbers
        self._tally = Tally()

    def add(self, example: Example) -> None:
        """Check one example; each kind of personal data counts once per example."""
        self._tally.seen += 1
        text = example_text(example)
        kinds = {
            "e-mail address": self._addresses(text),
            "telephone number": self._numbers(text),
            "payment card": (m[0] for m in _CARD.finditer(text) if _luhn(m[0])),
            "bank account": (m[0] for m in _IBAN.finditer(text) if _iban(m[0])),
        }
        for kind, matches in kinds.items():
            if (first := next(matches, None)) is not None:
                self._tally.hit(kind, example, first)

    @property
    def result(self) -> Findings:
        """The findings so far."""
        return self._tally.findings

    def _addresses(self, text: str) -> Iterator[str]:
        for match in _MAIL.finditer(text):
            if _EXAMPLE.search(match[0]):
                continue
            try:
                self._mails.validate_email(match[0].rstrip("."), check_deliverability=False)
            except self._mails.EmailNotValidError:
                continue
            yield match[0]

    def _numbers(self, text: str) -> Iterator[str]:
        # The library is slow, and most texts do not have enough digits for a telephone number.
        if not _DIGITS.search(text):
            return
        for region in REGIONS:
            for match in self._phones.PhoneNumberMatcher(text, region):
                yield match.raw_string


def _luhn(text: str) -> bool:
    """Whether the check digit of a card number is valid (Luhn 1954); one repeated digit is not a card number."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """Whether the check digits of an account number are valid (ISO 13616)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1
