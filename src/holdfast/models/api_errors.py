"""What went wrong with a request to an API, in one line: the status and the address first, then the server's words.

404 from http://127.0.0.1:8000/v1/responses: Not Found
no connection to http://127.0.0.1:9/v1/chat/completions: Connection refused
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError
from urllib.parse import urlsplit

#: Most characters of a server's own words.
_LONGEST = 300
_STATUS = re.compile(r"^Error code: \d+(?: - )?")
_NO_COMPLETION = re.compile(r"Unexpected non-\w+ response: (.*)", re.DOTALL)
#: Errors of clients that met no answer, by name: clients bring HTTP libraries of their own.
_UNANSWERED = frozenset({"OSError", "TransportError", "APIConnectionError", "ClientConnectionError"})
_LATE = frozenset({"TimeoutError", "TimeoutException", "APITimeoutError"})


def explain(error: BaseException, base: str = "") -> str:
    """One line on why a request brought no answer; `base` is the provider's address, where the error names none."""
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
    if found := _NO_COMPLETION.search(plain(chain[0])):
        return _line(f"an answer{where} that holds no completion", found[1])
    if isinstance(chain[0], (TypeError, AttributeError, KeyError, IndexError)):
        # Raised where a client takes apart an answer of another shape, such as 200 with an error in it.
        return _line(f"an answer{where} that holds no completion", f"{type(chain[0]).__name__}: {plain(chain[0])}")
    return _line(f"{type(chain[0]).__name__}{where}", first_line(chain[0]))


def unanswered(error: BaseException) -> bool:
    """Whether no server said anything: no connection, or none that lasted until an answer."""
    return status(error) is None and any((_UNANSWERED | _LATE) & _names(e) for e in causes(error))


def status(error: BaseException) -> int | None:
    """The HTTP status of the answer; None where there was no answer, or no fault in its status."""
    codes = (getattr(e, "status_code", None) for e in causes(error))
    return next((code for code in codes if isinstance(code, int)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error that a provider raised and what caused it, outermost first.

    Inspect's retrying wraps the last error it met, also where it tried but once.
    """
    last = getattr(error, "last_attempt", None)
    link: BaseException | None = (last.exception() if last else None) or error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without Inspect's markup for terminals."""
    return plain(error).splitlines()[0]


def plain(error: BaseException) -> str:
    """All that an error says, without Inspect's markup for terminals; its name where it says nothing."""
    said = re.sub(r"\[/?[a-z ]+\]", "", str(error)).strip()
    return said.removeprefix("ERROR: ") or type(error).__name__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _words(error: BaseException) -> str:
    """What a server said beside its status: the client's message, or the body; of an HTML page only that it is one."""
    said = str(getattr(error, "provider_message", None) or _STATUS.sub("", str(error)))
    if not said:
        said = str(getattr(getattr(error, "response", None), "text", "") or "")
    return "a page in HTML" if said.lstrip()[:1] == "<" else said


def _address(error: BaseException) -> str:
    """Scheme, host and path of what was asked: a query or a user name may hold a key."""
    try:
        return _bare(str(getattr(error, "request", None) and error.request.url))  # type: ignore[attr-defined]
    except (RuntimeError, AttributeError):  # httpx raises where an error has no request
        return ""


def _bare(address: str) -> str:
    try:
        url = urlsplit(address)
        port = f":{url.port}" if url.port else ""
    except ValueError:
        return ""
    return f"{url.scheme}://{url.hostname}{port}{url.path}" if url.hostname else ""


def _line(what: str, said: str) -> str:
    words = " ".join(said.split())
    words = f"{words[:_LONGEST]}…" if len(words) > _LONGEST else words
    return f"{what}: {words}" if words else what
