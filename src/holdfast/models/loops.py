"""Recognises answers that only repeat themselves, so that decoding stops before the token limit.

A small model that has fallen into a verbatim loop does not leave it: each repetition makes the next one more likely
(Holtzman et al. 2020, section 4.2; Xu et al. 2022, "Learning to break the loop").  Such an answer counts as truncated,
as it would at its token limit: it is unscored and never counts as harmless.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: A loop has at least this many repetitions, and this many tokens.
_TIMES, _LEAST = 8, 256
#: Longest passage whose repetition is recognised, in tokens.
_LONGEST = 256
#: Tokens between two checks of a row.
_EVERY = 32


def loop_period(tokens: Sequence[int]) -> int | None:
    """Return the length of the passage that the end of an answer repeats; None if it does not, or it was not checked.

    The last 256 tokens, or eight repetitions of the passage if that is more, must be equal token by token.

    Args:
        tokens: the tokens written so far; checked only at every 32nd.
    """
    if len(tokens) < _LEAST or len(tokens) % _EVERY:
        return None
    end = np.asarray(tokens[-_TIMES * _LONGEST :])
    repeated: list[int] = np.flatnonzero(end[-_LONGEST - 1 : -1][::-1] == end[-1]).tolist()
    for period in (distance + 1 for distance in repeated):
        length = max(_LEAST, _TIMES * period)
        if length <= len(end) and np.array_equal(end[-length + period :], end[-length:-period]):
            return period
    return None
