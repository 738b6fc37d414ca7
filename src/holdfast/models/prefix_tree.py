"""Keys and values of token sequences that were read before, shared by all sequences that begin alike.

A radix tree, as in SGLang (Zheng et al. 2024, "RadixAttention"): each node holds the keys and values of a run of tokens
after those of its ancestors.  Two episodes with the same system prompt and tools share its nodes, and the next turn of
an episode finds the tokens of its earlier turns.  Memory is bounded; the least recently used leaves are removed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    #: Keys and values for each layer of the model, of shape (heads, tokens, width).
    Layers = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the first `length` tokens of a sequence.

    Attributes:
        parts: keys and values of consecutive runs of tokens, each with the number of its tokens that belong to the
            prefix (the last run may be longer).
        length: number of tokens.
    """

    parts: tuple[tuple[Layers, int], ...] = ()
    length: int = 0

    def tensors(self, layer: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields keys and values of one layer, run by run, of shape (heads, tokens, width)."""
        for layers, tokens in self.parts:
            keys, values = layers[layer]
            yield keys[:, :tokens], values[:, :tokens]


@dataclass(eq=False)
class _Node:
    ids: list[int]
    layers: Layers
    parent: _Node | None
    used: int = 0
    children: dict[int, _Node] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


class PrefixTree:
    """What a model has read, by its tokens.

    Args:
        limit: most bytes of keys and values; 0 stores nothing.

    Attributes:
        held: bytes of keys and values stored now.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._clock = 0
        self._root = _Node([], [], None)

    def begin_round(self, limit: int) -> None:
        """Begin a round of requests with a new limit; what earlier rounds used may be removed from now on."""
        self._clock += 1
        self.limit = limit
        self._make_room(0)

    def match(self, ids: Sequence[int], most: int) -> Prefix:
        """Return the longest stored prefix of `ids`, of at most `most` tokens."""
        parts = []
        at = 0
        for node, same in self._walk(ids[:most]):
            node.used = self._clock
            parts.append((node.layers, same))
            at += same
        return Prefix(tuple(parts), at)

    def put(self, ids: Sequence[int], token_bytes: int, copy: Callable[[int], Layers]) -> bool:
        """Store the keys and values of a sequence, unless they do not fit beside what this round uses.

        Episodes of one round are used in turn, so removing the least recently used one would remove just what is used
        next.  What does not fit is therefore not stored, and the rest keeps its place.

        Args:
            ids: the tokens.
            token_bytes: bytes of keys and values for each token.
            copy: returns the keys and values of the tokens from a position on; nobody else may write to them.

        Returns:
            Whether all tokens are stored.
        """
        node, at = self._root, 0
        for node, same in self._walk(ids):
            node.used = self._clock
            at += same
            if same < len(node.ids):
                _split(node, same)
        missing = (len(ids) - at) * token_bytes
        if missing and not self._make_room(missing):
            return False
        if missing:
            new = _Node(list(ids[at:]), copy(at), node, self._clock)
            node.children[ids[at]] = new
            self.held += new.bytes
        return True

    def release(self, ids: Sequence[int]) -> None:
        """Mark the last run of a sequence as the first to be removed: its episode has ended."""
        path = list(self._walk(ids))
        if path and not path[-1][0].children:
            path[-1][0].used = 0

    def _walk(self, ids: Sequence[int]) -> Iterator[tuple[_Node, int]]:
        """Yields the nodes along a sequence with the number of tokens that agree; only the last may agree in part."""
        node, at = self._root, 0
        while at < len(ids) and (child := node.children.get(ids[at])):
            same = common_length(child.ids, ids[at : at + len(child.ids)])
            yield child, same
            # The caller may have split the child: then it holds just the tokens that agree.
            if same < len(child.ids):
                return
            node, at = child, at + same

    def _make_room(self, size: int) -> bool:
        """Remove the leaves used longest ago, but none of this round, until `size` bytes are free."""
        while self.held + size > self.limit:
            leaves = [node for node in self._leaves() if node.used < self._clock]
            if not leaves:
                return False
            oldest = min(leaves, key=lambda node: node.used)
            assert oldest.parent is not None
            del oldest.parent.children[oldest.ids[0]]
            self.held -= oldest.bytes
        return True

    def _leaves(self) -> Iterator[_Node]:
        nodes = list(self._root.children.values())
        while nodes:
            node = nodes.pop()
            if not node.children:
                yield node
            nodes.extend(node.children.values())


def _split(node: _Node, at: int) -> None:
    """Divide a node's tokens: it keeps the first `at`, and a new child takes the rest."""
    rest = _Node(node.ids[at:], [(k[:, at:].clone(), v[:, at:].clone()) for k, v in node.layers], node, node.used)
    rest.children = node.children
    for child in rest.children.values():
        child.parent = rest
    node.layers = [(k[:, :at].clone(), v[:, :at].clone()) for k, v in node.layers]
    node.ids, node.children = node.ids[:at], {rest.ids[0]: rest}


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of equal tokens at the beginning of two sequences."""
    most = min(len(first), len(second))
    if first[:most] == second[:most]:
        return most
    return next(i for i in range(most) if first[i] != second[i])


def shared_prefixes(rows: Sequence[list[int]], least: int) -> list[list[list[int]]]:
    """Return the prefixes that several sequences share and that are worth reading once.

    Each is a branching point of the sequences' trie, at least `least` tokens below the branching point before it.  A
    sequence never shares its last token, because the model must read that to continue it.

    Args:
        rows: token sequences.
        least: fewest tokens to share.

    Returns:
        The prefixes in levels: those of a level begin with one of the level before, or share nothing.
    """
    ordered = sorted(row[:-1] for row in rows)
    common = [common_length(a, b) for a, b in pairwise(ordered)]
    levels: list[list[list[int]]] = []

    def branch(first: int, last: int, above: int, depth: int) -> None:
        """Take up the branching points of ordered[first..last], whose ancestors share `above` tokens."""
        while first < last:
            # Rows that have fewer tokens in common than `above` + `least` share nothing more.
            end = first
            while end < last and common[end] >= above + least:
                end += 1
            if end > first:
                length = min(common[first:end])
                if len(levels) <= depth:
                    levels.append([])
                levels[depth].append(ordered[first][:length])
                branch(first, end, length, depth + 1)
            first = end + 1

    branch(0, len(ordered) - 1, 0, 0)
    return levels
