"""Make text from outside (a model, a provider, an imported file) storable as UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def storable(text: str) -> str:
    r"""`text` with each lone surrogate escaped, as in `\ud83d`; a surrogate pair becomes its character.

    JSON can carry a lone surrogate and UTF-8 cannot, so a record that holds one could not be written.  All other
    characters are kept, including NUL and control characters, which JSON escapes.
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
    """`value` with `storable` applied to every string and key in it; values of other types are kept."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable_tree(key): storable_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable_tree(item) for item in value]
    return value


#: The type of every record field that text from outside can reach.
Text = Annotated[str, AfterValidator(storable)]
