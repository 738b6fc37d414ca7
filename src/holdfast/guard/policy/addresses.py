"""Normalise hosts and mail addresses and match them to those in a policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.detectors.confusables import skeleton
from holdfast.guard.policy.normalise import UNKNOWN, Uninspectable, closest_known, hides

_LOCAL_PART = re.compile(r"[a-z0-9!#$&'*+/=?^_`{|}~.-]{1,64}")
_HANDLE = re.compile(r"[#@]?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAMED = re.compile(r'(?:"[^"<>@\\]*"\s*|[^"<>@,;\\]*)<\s*([^<>\s]+)\s*>')
_LONGEST_URL, _LONGEST_FIELD, _LONGEST_HOST = 8192, 65536, 253
_SCHEME = re.compile(r"\s*https?:", re.IGNORECASE)
#: A URL inside another one: behind a scheme, or where a parameter begins with two slashes.
_INNER_URL = re.compile(r"(?:(?:https?|ftp|wss?):/{1,2}|(?<==)//)([\w.@-]+\.[\w-]+)", re.IGNORECASE)
_MOST_ESCAPES = 4
_CUT = re.compile(r"[,;]")
_PART = re.compile(r'(?:[^,;"]|"[^"]*")+')
_FIELD = re.compile(rf"{_PART.pattern}(?:[,;]{_PART.pattern})*")
_NOT_PLAIN = re.compile(r'[<>"\s]')
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def host_chain(host: str) -> Iterator[str]:
    """Yield a host and the patterns that cover it: `a.b.c`, `*.b.c`, `*.c`; for `*.b.c`: itself and `*.c`."""
    yield host
    parts = host.removeprefix("*.").split(".")
    for at in range(1, len(parts)):
        yield "*." + ".".join(parts[at:])


def address_chain(address: str) -> Iterator[str]:
    """Yield an address and its domains: `ann@b.c`, `@b.c`, `@*.c`; a handle (`#general`, `@ann`) has no ancestors."""
    yield address
    local, at, host = address.rpartition("@")
    if at and "." in host:
        for step in host_chain(host):
            if local or step != host:
                yield f"@{step}"


@lru_cache(maxsize=4096)
def read_host(text: str) -> str:
    """Return a host in lower case and punycode, without a final dot.

    Raises:
        Uninspectable: the text is not a host name, has letters that only look like ASCII, or is an IP address in
            another notation than four decimal numbers.
    """
    name = text.rstrip(".") if not text.endswith("..") else text
    if not name or len(name) > _LONGEST_HOST or hides(name):
        raise Uninspectable("write the host name plainly")
    if not name.isascii():
        try:
            encoded = name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise Uninspectable("write the host name plainly") from None
        if "xn--" not in encoded:
            raise Uninspectable("write the host name in plain letters")
        name = encoded
    name = name.lower()
    last = name.rpartition(".")[2]
    if not _DOMAIN.fullmatch(name):
        raise Uninspectable("write the host name plainly")
    # 0x7f.1, 2130706433 and 127.1 all mean 127.0.0.1: only four decimal numbers are accepted.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", last) and not re.fullmatch(r"((0|[1-9]\d{0,2})\.){3}(0|[1-9]\d{0,2})", name):
        raise Uninspectable("write the IP address as four decimal numbers")
    return name


def _shown(host: str) -> str:
    """Return a host as it is displayed."""
    if "xn--" not in host:
        return host
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        raise Uninspectable("write the host name plainly") from None


class _Looks:
    """The policy's hosts by their skeletons, to detect look-alikes."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._known: dict[str, set[str]] = {}
        for host in hosts:
            self._known.setdefault(skeleton(_shown(host)), set()).add(host)
        self.check = lru_cache(maxsize=4096)(self._check)

    def _check(self, host: str, written: str) -> None:
        """Check that a host does not look like another host of the policy or one of its subdomains.

        Raises:
            Uninspectable: it does.
        """
        labels = host.split(".")
        for seen in (_shown(host).split("."), written.rstrip(".").split(".")):
            for at in range(len(labels)):
                like = self._known.get(skeleton(".".join(seen[at:])))
                if like and ".".join(labels[at:]) not in like:
                    raise Uninspectable(
                        "this host looks like another host: write the one that you mean in ASCII letters"
                    )


class Hosts:
    """Matches URLs to the hosts in a policy (`api.acme.example`, `*.acme.example`)."""

    chain = staticmethod(host_chain)

    def __init__(self, entries: Iterable[str]) -> None:
        self.known = frozenset(_listed_host(entry) for entry in entries)
        self._looks = _Looks(entry.removeprefix("*.") for entry in self.known)

    @staticmethod
    def entry(text: str) -> str:
        """Normalise an entry of the policy."""
        return _listed_host(text)

    def terms(self, value: Any) -> set[str]:
        """Return the term of one URL.

        Raises:
            Uninspectable: the value is not a plain http or https URL, or its host looks like one in the policy.
        """
        if not isinstance(value, str) or len(value) > _LONGEST_URL or hides(value) or "\\" in value or " " in value:
            raise Uninspectable("write a plain URL")
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise Uninspectable("write a plain URL") from None
        if parts.scheme not in ("http", "https") or "@" in parts.netloc or "%" in parts.netloc or not parts.hostname:
            raise Uninspectable("write a plain http or https URL without a user name")
        written = parts.netloc.partition(":")[0]
        host = read_host(written)
        self._looks.check(host, written)
        term = closest_known(host_chain(host), self.known)
        return {term if port in (None, 80, 443) else UNKNOWN, *self._terms_inside(value)}

    def _terms_inside(self, url: str) -> set[str]:
        """Return the terms of the URLs inside a URL: an open redirect or proxy on a known host leads to their hosts."""
        found = set()
        text, rest = url, _SCHEME.sub("", url, count=1)
        for _ in range(_MOST_ESCAPES):
            for inner in _INNER_URL.findall(rest):
                try:
                    found.add(closest_known(host_chain(read_host(inner.rpartition("@")[2])), self.known))
                except Uninspectable:
                    found.add(UNKNOWN)
            text, rest = rest, unquote(rest)
            if text == rest:
                break
        return found


def _listed_host(text: str) -> str:
    suffix = text.startswith("*.")
    return ("*." if suffix else "") + read_host(text.removeprefix("*."))


class Recipients:
    """Matches addresses to those in a policy: `ann@acme.example`, `@acme.example`, `@*.acme.example`, `#general`."""

    chain = staticmethod(address_chain)

    def __init__(self, entries: Iterable[str]) -> None:
        self.known = frozenset(self.entry(entry) for entry in entries)
        hosts = {entry.rpartition("@")[2].removeprefix("*.") for entry in self.known if "@" in entry}
        self._looks = _Looks(host for host in hosts if "." in host)
        self._names = {skeleton(entry): entry for entry in self.known if not entry.startswith("@")}

    @staticmethod
    def entry(text: str) -> str:
        """Normalise an entry of the policy.

        Raises:
            Uninspectable: the text is not an address, domain or handle.
        """
        if text.startswith("@") and "." in text:
            return "@" + _listed_host(text[1:])
        return next(iter(_address_readings(text)))

    def terms(self, value: Any) -> set[str]:
        """Return the terms of every recipient in one field; an empty field has none.

        Raises:
            Uninspectable: the field is not a plain list of addresses, or one of them looks like one in the policy.
        """
        if not isinstance(value, str) or len(value) > _LONGEST_FIELD or hides(value):
            raise Uninspectable("write plain addresses, separated by commas")
        found: set[str] = set()
        for part in _split(value):
            named = _NAMED.fullmatch(part)
            written = named[1] if named else part
            if not named and _NOT_PLAIN.search(part):
                raise Uninspectable("write each address alone or as 'Name <address>'")
            readings = _address_readings(written)
            found.update(closest_known(address_chain(reading), self.known) for reading in readings)
            self._refuse_look_alike(readings[0], written)
        return found

    def _refuse_look_alike(self, address: str, written: str) -> None:
        like = self._names.get(skeleton(written)) if self._names else None
        if like is not None and address != like:
            raise Uninspectable("this address looks like another address: write the one that you mean in ASCII letters")
        host = address.rpartition("@")[2]
        if "." in host:
            self._looks.check(host, written.rpartition("@")[2])


def _split(value: str) -> list[str]:
    """Split an address field at commas and semicolons outside quotes."""
    if not value.strip():
        return []
    if '"' in value and not _FIELD.fullmatch(value):
        raise Uninspectable("write plain addresses, separated by commas")
    parts = [part.strip() for part in (_PART.findall(value) if '"' in value else _CUT.split(value))]
    if not all(parts):
        raise Uninspectable("write plain addresses, separated by commas")
    return parts


def _address_readings(text: str) -> list[str]:
    """Return an address in normal form and, if it has a tag (`ann+x@`), also the address without the tag."""
    local, at, host = text.rpartition("@")
    if not at or not local:
        if not _HANDLE.fullmatch(text) or (at and "." in text):
            raise Uninspectable("write plain addresses, such as name@host")
        return [text.casefold()]
    local = local.casefold() if local.isascii() else local
    # Percent and bang paths route mail to other hosts.
    if not _LOCAL_PART.fullmatch(local) or "!" in local or ".." in local or local[0] == "." or local[-1] == ".":
        raise Uninspectable("write the address in plain letters")
    name = read_host(host)
    base = local.partition("+")[0]
    return [f"{local}@{name}", *([f"{base}@{name}"] if base and base != local else [])]
