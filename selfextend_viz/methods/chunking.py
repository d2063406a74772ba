"""Methods that cut the text into chunks and count positions within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from selfextend_viz.positions import Band, Positions, true_position, whole_number


@dataclass(frozen=True)
class DualChunkAttention:
    """Dual Chunk Attention (An et al., arXiv 2402.17463, section 3): positions begin again in every chunk.

    With ``c = chunk_size - local_window`` a key stands at ``j mod c``; a query at ``i mod c`` for its own chunk, at
    ``min(i mod c + c, chunk_size)`` for the chunk before, and at ``chunk_size`` for older ones. So distances within a
    chunk are true, and across its border those up to the local window, where that is at most half of chunk_size.

    It reaches any length, and chunk_size is the largest distance told. It cannot tell older chunks apart: what stands
    at one place of its chunk is told one distance, whichever chunk it is. Eager only, since a chunk is no interval of
    distances. The scaling of cosines that the authors' code adds and the paper does not have is left out.

    Parameters
    ----------
    chunk_size
        The largest distance told; the authors take three quarters of L. It should stay below L.
    local_window
        The largest distance that is true across a chunk's border; the authors take L / 8.

    Raises
    ------
    TypeError, ValueError
        If chunk_size is not a whole number >= 2 or local_window not one of 1 .. chunk_size - 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: begin again in every chunk"

    chunk_size: int
    local_window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_size", whole_number("chunk_size", self.chunk_size, at_least=2))
        object.__setattr__(self, "local_window", whole_number("local_window", self.local_window))
        if self.local_window >= self.chunk_size:
            raise ValueError(
                f"local_window is {self.local_window}, but must be at most {self.chunk_size - 1}, "
                f"one less than chunk_size = {self.chunk_size}"
            )

    @property
    def bands(self) -> tuple[Band, ...]:
        """Keys of the query's own chunk, of the chunk before, and of older ones."""
        size, chunk = self.chunk_size, self.chunk_size - self.local_window

        def key(positions: Positions) -> Positions:
            return positions % chunk

        def next_query(positions: Positions) -> Positions:
            place = positions % chunk + chunk
            return place - (place > size) * (place - size)

        def chunks_apart(query: Positions, key: Positions) -> Positions:
            return query // chunk - key // chunk

        return (
            Band(lambda i: i % chunk, key, beyond=chunk, visible=lambda i, j: chunks_apart(i, j) == 0),
            Band(next_query, key, nearest=1, beyond=2 * chunk, visible=lambda i, j: chunks_apart(i, j) == 1),
            Band(lambda i: i * 0 + size, key, nearest=chunk + 1, visible=lambda i, j: chunks_apart(i, j) > 1),
        )

    def __str__(self) -> str:
        return f"DualChunkAttention({self.chunk_size}, local_window={self.local_window})"


@dataclass(frozen=True)
class LlamaCppSelfExtend:
    """llama.cpp's Self-Extend (``--grp-attn-n``, ``--grp-attn-w``): positions in the cache rewritten block by block.

    Each time another W tokens are full, their positions in the cache are divided by G, and later tokens move up. So a
    query in block ``b = i // W`` stands at ``i - b (W - W / G)``, a key of its own block at its true distance and one
    of a full block at ``j // G``.

    It needs one attention and no second set of rotated keys. It is not the paper's method: the exact window is a
    sawtooth, which grows to W and falls back to a token or two with every full block, so that near tokens are grouped
    too. Each query has the row that it has when it is itself decoded, one token at a time. Eager only, since a block is
    no interval of distances.

    Parameters
    ----------
    group_size
        G, ``--grp-attn-n``.
    window
        W, ``--grp-attn-w``; a multiple of G.

    Raises
    ------
    TypeError, ValueError
        If G or W is not a whole number >= 1, or G does not divide W.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: full blocks divided by G"

    group_size: int
    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "group_size", whole_number("group_size", self.group_size))
        object.__setattr__(self, "window", whole_number("window", self.window))
        if self.window % self.group_size:
            raise ValueError(f"window is {self.window}, but must be a multiple of group_size = {self.group_size}")

    @property
    def bands(self) -> tuple[Band, ...]:
        """The query's own block at true distances, and full blocks grouped."""
        group_size, window = self.group_size, self.window
        taken = window - window // group_size

        def query(positions: Positions) -> Positions:
            return positions - positions // window * taken

        same = Band(true_position, beyond=window, visible=lambda i, j: i // window == j // window)
        full = Band(query, lambda j: j // group_size, nearest=1, visible=lambda i, j: j // window < i // window)
        return same, full

    def __str__(self) -> str:
        return f"LlamaCppSelfExtend(G={self.group_size}, W={self.window})"
