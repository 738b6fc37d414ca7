"""Describes a failed API request in one line: status and address, then the server's message.

404 from http://127.0.0.1:8000/v1/responses: Not Found
no connection to http://127.0.0.1:9/v1/chat/completions: Connection refused
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError
from urllib.parse import urlsplit

#: Maximum length of the server's message in characters.
_LONGEST = 300
_STATUS = re.compile(r"^Error code: \d+(?: - )?")
_NO_COMPLETION = re.compile(r"Unexpected non-\w+ response: (.*)", re.DOTALL)
#: Exceptions for a missing answer, by class name, because clients use different HTTP libraries.
_UNANSWERED = frozenset({"OSError", "TransportError", "APIConnectionError", "ClientConnectionError"})
_LATE = frozenset({"TimeoutError", "TimeoutException", "APITimeoutError"})


def explain(error: BaseException, base: str = "") -> str:
    """Describe in one line why a request failed; `base` is the provider's address, used if the error has none."""
    chain = list(causes(error))
    address = next(filter(None, map(_address, chain)), _bare(base))
    where = f" from {address}" if address else ""
    if (code := status(error)) is not None:
        return _line(f"{code}{where}", next(filter(None, map(_words, chain)), ""))
    if unanswered(error):
        if any(_LATE & _names(e) for e in chain):
            return _line(f"no answer{where} in time", "")
        to = f" to {address}" if address else ""
        return _line(f"no connection{to}", plain(chain[-1]))
    if isinstance(chain[0], JSONDecodeError):
        return _line(f"an answer{where} that is not JSON", "")
    if match := _NO_COMPLETION.search(plain(chain[0])):
        return _line(f"an answer{where} that contains no completion", match[1])
    if isinstance(chain[0], (TypeError, AttributeError, KeyError, IndexError)):
        # Raised by a client that parses an answer of another shape, such as status 200 with an error object.
        return _line(f"an answer{where} that contains no completion", f"{type(chain[0]).__name__}: {plain(chain[0])}")
    return _line(f"{type(chain[0]).__name__}{where}", first_line(chain[0]))


def unanswered(error: BaseException) -> bool:
    """Whether there was no answer at all: no connection, or it ended before the answer."""
    return status(error) is None and any((_UNANSWERED | _LATE) & _names(e) for e in causes(error))


def status(error: BaseException) -> int | None:
    """Return the HTTP status of a failed request; None if there was no answer or the status was not the fault."""
    codes = (getattr(e, "status_code", None) for e in causes(error))
    return next((code for code in codes if isinstance(code, int)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error that the provider's client raised and its causes, outermost first.

    Inspect's retry wrapper wraps the last error, even if there was only one attempt; it is removed.
    """
    last = getattr(error, "last_attempt", None)
    link: BaseException | None = (last.exception() if last else None) or error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without Inspect's terminal markup."""
    return plain(error).splitlines()[0]


def plain(error: BaseException) -> str:
    """Return an error's message without Inspect's terminal markup, or its class name if the message is empty."""
    message = re.sub(r"\[/?[a-z ]+\]", "", str(error)).strip()
    return message.removeprefix("ERROR: ") or type(error).__name__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _words(error: BaseException) -> str:
    """Return the server's message: that of the client's error, or the body; for HTML, only that it is HTML."""
    message = str(getattr(error, "provider_message", None) or _STATUS.sub("", str(error)))
    if not message:
        message = str(getattr(getattr(error, "response", None), "text", "") or "")
    return "a page in HTML" if message.lstrip()[:1] == "<" else message


def _address(error: BaseException) -> str:
    """Return scheme, host and path of the request; the query and user name may contain a key."""
    try:
        return _bare(str(getattr(error, "request", None) and error.request.url))  # type: ignore[attr-defined]
    except (RuntimeError, AttributeError):  # httpx raises if an error has no request
        return ""


def _bare(address: str) -> str:
    try:
        url = urlsplit(address)
        port = f":{url.port}" if url.port else ""
    except ValueError:
        return ""
    return f"{url.scheme}://{url.hostname}{port}{url.path}" if url.hostname else ""


def _line(what: str, message: str) -> str:
    words = " ".join(message.split())
    words = f"{words[:_LONGEST]}…" if len(words) > _LONGEST else words
    return f"{what}: {words}" if words else what
