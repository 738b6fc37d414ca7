"""Personal data: addresses, telephone numbers, cards and accounts that could be somebody's.

Addresses are judged by email-validator (domains reserved for examples are nobody's), numbers by phonenumbers, Google's
tables of what can be dialled; cards and accounts by their own check digits.  Names are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.core.extras import needs
from holdfast.core.records import Example
from holdfast.data.heldout_filter import example_text
from holdfast.data.quality.found import Findings, Tally

#: regions whose national numbers are recognised beside international ones
REGIONS = ("US", "GB")
_MAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
#: reserved for examples (RFC 2606)
_EXAMPLE = re.compile(r"[@.]example(\.(com|net|org))?\.?$")
_DIGITS = re.compile(r"\d(?:[\s().-]{0,2}\d){6}")
_CARD = re.compile(r"(?<![\d-])(?:\d[ -]?){12,18}\d(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")


class PrivacyTally:
    """Finds personal data, one example after the other.

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
        """Look at one example; each kind counts once."""
        self._tally.seen += 1
        text = example_text(example)
        kinds = {
            "e-mail address": self._addresses(text),
            "telephone number": self._numbers(text),
            "payment card": (m[0] for m in _CARD.finditer(text) if _luhn(m[0])),
            "bank account": (m[0] for m in _IBAN.finditer(text) if _iban(m[0])),
        }
        for kind, found in kinds.items():
            if (first := next(found, None)) is not None:
                self._tally.hit(kind, example, first)

    @property
    def found(self) -> Findings:
        """What was found so far."""
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
        # The library reads every digit; most texts have too few to be worth it.
        if not _DIGITS.search(text):
            return
        for region in REGIONS:
            for match in self._phones.PhoneNumberMatcher(text, region):
                yield match.raw_string


def _luhn(text: str) -> bool:
    """Whether a card number's last digit is right (Luhn 1954); a number of one digit alone is no card."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """Whether an account's check digits are right (ISO 13616)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1
