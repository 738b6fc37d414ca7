"""Text that came from outside (a model, a provider, a file of others), made fit to be stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def storable(text: str) -> str:
    r"""The same text with each lone surrogate written out, as in `\ud83d`; a split pair becomes its character.

    JSON can carry half of a surrogate pair and UTF-8 cannot, so a record that held one could not be written.  All other
    characters stay, NUL and control characters too: JSON escapes them.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = _PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)
        return joined.encode("utf-8", "backslashreplace").decode()
    return text


def storable_tree(value: Any) -> Any:
    """`value` with `storable` applied to every text and every key in it; what is no text, mapping or list stays."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable_tree(key): storable_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable_tree(item) for item in value]
    return value


#: The type of every text field of a record that outside text can reach.
Text = Annotated[str, AfterValidator(storable)]
