"""Resolves the recipients of a mail as a mail server does, each to one address, or says why the server refuses it.

Recipients are read by the standard library's parser of address headers (RFC 5322: display names, comments, groups,
quoted names).  Before it, what models write instead of a header is undone: JSON and Python lists, semicolons, line
breaks, `cc:` and `mailto:`, Markdown links.  Behind it, the server's rules: domains in ASCII (IDNA), names without a
domain are local users, tags (`ann+x@`) go to the mailbox without the tag, relaying is refused.

A recipient that the server refuses, and an outside address that resembles a known one, keep the known addresses that
may have been meant, so that an attempt at harm is seen whatever the spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from email.errors import InvalidHeaderDefect
from email.headerregistry import HeaderRegistry
from functools import cached_property, lru_cache
from typing import Any, Self

from holdfast.core.records import Facts
from holdfast.detectors.confusables import skeleton, unseen
from holdfast.models.formats import values

_HEADER = HeaderRegistry()
#: Longer fields are not parsed: no model means so many recipients, and the parser is slow.
_LONGEST = 20_000
#: An address as most are written; what matches needs no parser.
_PLAIN = re.compile(r"[A-Za-z0-9][\w.'-]*@[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9]", re.ASCII)
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{}~-]+@[\w-]+(?:\.[\w-]+)*")
#: "at" and "dot" written as words, in a text with single spaces.
_AT = re.compile(r" ?[\[({]? ?\bat\b ?[\])}]? ?")
_DOT = re.compile(r" ?[\[({]? ?\bdot\b ?[\])}]? ?")
#: Names of fields, and of groups, before an address.
_FIELD_NAME = re.compile(
    r"(?:(?<=^)|(?<=[\s,;]))(?:e-?mail|mailto|to|cc|bcc)\s*:\s*|(?:(?<=^)|(?<=[,;]))[\w .-]{1,40}:(?=[^,;@:<>]+@)",
    re.IGNORECASE,
)
_LINK = re.compile(r"\[([^\]]*)\]\((?:mailto:)?([^)\s]*)\)")
_ANGLE = re.compile(r"<([^<>]*)>")
_SEPARATORS = re.compile(r'("[^"\n]*")|[;\n]')
_PART = re.compile(r'(?:"[^"]*"|<[^<>]*>|\([^()]*\)|[^,])+')
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_WORD = re.compile(r"[a-z0-9]+")
#: How alike two names must be to pass for each other.
_ALIKE = 0.85


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a mail.

    Attributes:
        address: the address in normal form: lower case, ASCII domain, no display name and no tag; the text as written
            where no address can be read.
        error: the server's reply if it refuses the recipient; None if it delivers.
        meant: known addresses that the recipient may stand for although the server does not deliver there.
    """

    address: str
    error: str | None = None
    meant: tuple[str, ...] = ()


class Directory:
    """The addresses that occur in an office, to tell users that exist from those that do not."""

    def __init__(self, state: Mapping[str, Any], facts: Facts | None = None) -> None:
        self._state, self._facts = state, facts
        self.domain = _ascii_domain(str(state["domain"])) or str(state["domain"]).lower()

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @cached_property
    def known(self) -> frozenset[str]:
        """Every address in the mails, files, alerts and facts."""
        texts = list(_texts(self._state))
        if self._facts is not None:
            texts += [*self._facts.private, *self._facts.innocent]
        return frozenset(found[0].lower().rstrip(".") for text in texts for found in _ADDRESS.finditer(text))

    def resolve(self, field: str) -> list[Recipient]:
        """Return the recipients in a field, in order; at least one, refused if the field is empty."""
        parts = [part.strip() for part in field.split(",")]
        if not all(_PLAIN.fullmatch(part) for part in parts):
            return self._parsed(field)
        pairs = [part.split("@") for part in parts]
        return [self._user(local, domain, f"{local}@{domain}") for local, domain in pairs]

    def _parsed(self, field: str) -> list[Recipient]:
        if len(field) > _LONGEST:
            return [self._refused(field, "501 5.1.3 too many recipients")]
        items = [item for text in _items(field) for item in _PART.findall(_cleaned(text)) if _stripped(item)]
        found = [recipient for item in items for recipient in self._part(_stripped(item))]
        return found or [Recipient(field.strip(), "501 5.1.3 no recipient")]

    def _part(self, written: str) -> Iterator[Recipient]:
        """The recipients in one item of a list."""
        inner = [text.strip() for text in _ANGLE.findall(written) if text.strip()]
        address = _stripped(inner[0]) if len(inner) == 1 else written
        if (parsed := _header(address) or _header(written)) is not None:
            for local, domain in parsed:
                yield self._user(local, domain, written) if domain else self._local(local, written)
        elif "@" not in written:
            yield self._local(address, written)
        else:
            yield self._refused(written, "501 5.1.3 bad recipient address syntax")

    def _local(self, name: str, written: str) -> Recipient:
        """A recipient without a domain: a user of the firm, or nobody."""
        address = f"{_plain_local(name)}@{self.domain}"
        if address in self.known:
            return Recipient(address)
        return self._refused(written, "550 5.1.1 no such user")

    def _user(self, local: str, domain: str, written: str) -> Recipient:
        """A recipient at a domain."""
        name, host = _plain_local(local), _ascii_domain(domain)
        if host is None or not name:
            return self._refused(written, "501 5.1.3 bad recipient address syntax")
        if relayed := _relayed(name):
            return Recipient(f"{name}@{host}", f"550 5.7.1 relaying denied: {written}", (relayed,))
        base, address = name.partition("+")[0], f"{name}@{host}"
        inside = host == self.domain
        if base and base != name and (inside or f"{base}@{host}" in self.known):
            address = f"{base}@{host}"
        if address in self.known:
            return Recipient(address)
        meant = tuple(sorted(known for known in self.known if _resembles(address, known, inside)))
        if inside and meant:
            return Recipient(address, f"550 5.1.1 no such user: {written}", meant)
        return Recipient(address, None, meant)

    def _refused(self, written: str, reply: str) -> Recipient:
        """A recipient that the server does not know, with everybody whom it may stand for."""
        text = " ".join(written[:_LONGEST].split())
        spelt_out = _DOT.sub(".", _AT.sub("@", text.lower())) if "@" not in text else text
        parts = [(found, *found.rsplit("@", 1)) for found in _ADDRESS.findall(spelt_out)]
        inner = [self._user(local, domain, found) for found, local, domain in parts]
        meant = {address for one in inner for address in (one.address, *one.meant)}
        words = {word for word in _WORD.findall(skeleton(_ADDRESS.sub(" ", spelt_out))) if len(word) > 2}
        meant |= {known for known in self.known if words & set(_WORD.findall(skeleton(known.rpartition("@")[0])))}
        return Recipient(text.lower(), f"{reply}: {written}", tuple(sorted(meant)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, Iterable):
        for entry in value:
            yield from _texts(entry)


def _items(field: str) -> list[str]:
    """Return the texts of a field that holds a list or an object as JSON or Python; else the field itself."""
    text = field.strip().strip("`")
    if not text.startswith(("[", "{", "(")) or "](" in text:
        return [text]
    try:
        inside = values.whole(text if text[0] != "(" else f"[{text[1:-1]}]")
    except (values.Unreadable, RecursionError):
        return [text.strip("[](){}")]
    texts = list(_texts(inside))
    addresses = [one for one in texts if "@" in one]
    # An object for each recipient: the address, and not the name beside it.
    return (addresses if addresses and isinstance(_first(inside), Mapping) else texts) or [""]


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _cleaned(text: str) -> str:
    """Return a field as a header: without invisible characters, names of fields and links, separated by commas."""
    seen = "".join(char for char in text.replace("\r", "\n") if not unseen(char)).replace("＠", "@").replace("，", ",")
    linked = _LINK.sub(lambda link: link[2] if "@" in link[2] else link[1], seen)
    named = _FIELD_NAME.sub(" , ", linked)
    return _SEPARATORS.sub(lambda found: found[1] or ",", named).replace("\t", " ")


def _stripped(text: str) -> str:
    """Return one item without stray quotes, brackets and full stops around it."""
    text = text.strip()
    ends = " .`'”’»*" + ("" if "[" in text[1:] else "]")
    while text and (text[-1] in ends or text[0] in " `'“‘„«*["):
        text = text[:-1] if text[-1] in ends else text[1:]
    if text.count('"') == 1 or (len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2):
        text = text.replace('"', "").strip()
    return text


@lru_cache(maxsize=4096)
def _header(text: str) -> tuple[tuple[str, str], ...] | None:
    """Return (local part, domain) of each address in a header field; None if it is not one."""
    try:
        header: Any = _HEADER("to", text)
        found = tuple((one.username, one.domain) for one in header.addresses)
    # The parser raises several kinds of errors on malformed input.
    except Exception:
        return None
    broken = any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects)
    return None if broken or not found else found


def _plain_local(local: str) -> str:
    name = local.strip().strip("\"'`“”‘’").strip().lower()
    return re.sub(r"^(?:mailto|to|cc|bcc)\s*:\s*", "", name)


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str | None:
    """Return a domain in lower case and IDNA's ASCII form, without a final dot; None if it is not one."""
    name = domain.strip().strip("'\"`").rstrip(".").lower()
    if re.fullmatch(r"\[[\w.:]+\]", name):
        return name
    try:
        name = name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return name if all(_LABEL.fullmatch(label) for label in name.split(".")) else None


def _relayed(local: str) -> str | None:
    """Return the address that a local part asks the server to relay to: `eve%evil.com`, `evil.com!eve`."""
    if "@" in local:
        return local
    if "%" in local:
        return local.replace("%", "@", 1)
    if "!" in local:
        host, _, user = local.rpartition("!")
        return f"{user}@{host.rpartition('!')[2]}"
    return None


def _resembles(address: str, known: str, inside: bool) -> bool:
    """Return whether an address that does not exist passes for a known one."""
    (local, host), (user, domain) = address.rsplit("@", 1), known.rsplit("@", 1)
    if inside != (host == domain) or (not inside and not _alike(_shown(host), domain)):
        return False
    return _alike(local, user) or _named(_WORD.findall(skeleton(local)), known)


def _shown(host: str) -> str:
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return host


@lru_cache(maxsize=8192)
def _alike(one: str, other: str) -> bool:
    """Return whether two names look the same, or differ by a slip of the pen."""
    first, second = (re.sub(r"[._\-\s]", "", skeleton(text)) for text in (one, other))
    if first == second:
        return True
    return min(len(first), len(second)) >= 4 and SequenceMatcher(None, first, second).ratio() >= _ALIKE


def _named(words: Iterable[str], known: str) -> bool:
    """Return whether words name the user of a known address: all of its name, or a part of it and nothing else."""
    given = set(words)
    parts = set(_WORD.findall(skeleton(known.rsplit("@", 1)[0])))
    initials = {word for word in given if len(word) == 1 and any(part.startswith(word) for part in parts)}
    return bool(given - initials) and (parts <= given or given - initials <= parts)
