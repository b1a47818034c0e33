"""Nearest neighbours among many vectors, by cosine: exact, by hashing, and by faiss's indexes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from peluche.config import Config
from peluche.errors import ConfigError, MissingExtraError

Vectors = NDArray[np.float32]
BLOCK = 256
NONE = -1


class Neighbours(NamedTuple):
    """What a search finds for Q queries, best first.

    Attributes:
        numbers: (Q, K) rows of the indexed vectors; −1 where fewer are found.
        similarities: (Q, K) cosines; −∞ there.
    """

    numbers: NDArray[np.int64]
    similarities: Vectors


class Index(ABC):
    """Vectors made ready to be searched.

    Args:
        vectors: (N, D); only their directions count.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = directions(vectors)

    @abstractmethod
    def search(self, queries: Vectors, count: int) -> Neighbours:
        """The `count` nearest of each of (Q, D) queries, as far as the index finds them."""


class ExactConfig(Config):
    """Compare with every vector."""

    kind: Literal["exact"] = "exact"

    def build(self, vectors: Vectors) -> Index:
        return Exact(vectors)


class Exact(Index):
    """All products, block by block of queries."""

    def search(self, queries: Vectors, count: int) -> Neighbours:
        found = []
        for start in range(0, len(queries), BLOCK):
            cosines = directions(queries[start : start + BLOCK]) @ self.vectors.T
            found.append(_best(cosines, np.arange(len(self.vectors)), count))
        return Neighbours(*map(np.concatenate, zip(*found, strict=True)))


class LshConfig(Config):
    """Locality-sensitive hashing by random hyperplanes (Charikar 2002).

    Two vectors at an angle θ are on the same side of all `bits` hyperplanes of a table with
    probability (1 − θ/π)^bits. More tables find more, more bits have less to compare with.
    """

    kind: Literal["lsh"] = "lsh"
    tables: int = Field(16, gt=0)
    bits: int = Field(12, gt=0, le=62)
    seed: int = Field(0, ge=0)

    def build(self, vectors: Vectors) -> Index:
        return Lsh(self, vectors)


class Lsh(Index):
    """Tables of codes; what shares a code with the query in any of them is compared exactly."""

    def __init__(self, config: LshConfig, vectors: Vectors) -> None:
        super().__init__(vectors)
        random = np.random.default_rng(config.seed)
        shape = (vectors.shape[1], config.tables * config.bits)
        self.config = config
        self.planes = random.standard_normal(shape, dtype=np.float32)
        codes = self._codes(self.vectors)
        self.order = np.argsort(codes, axis=0, kind="stable").T.copy()
        self.codes = np.sort(codes, axis=0).T.copy()

    def _codes(self, vectors: Vectors) -> NDArray[np.int64]:
        """(N, tables)"""
        sides = (vectors @ self.planes > 0).reshape(len(vectors), self.config.tables, -1)
        return sides @ (1 << np.arange(self.config.bits, dtype=np.int64))

    def candidates(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that share a code (tables,) in some table."""
        buckets = []
        for table, wanted in enumerate(code.tolist()):
            first, last = np.searchsorted(self.codes[table], [wanted, wanted + 1])
            buckets.append(self.order[table, first:last])
        return np.unique(np.concatenate(buckets))

    def search(self, queries: Vectors, count: int) -> Neighbours:
        queries = directions(queries)
        found = []
        for query, code in zip(queries, self._codes(queries), strict=True):
            rows = self.candidates(code)
            found.append(_best((self.vectors[rows] @ query)[None], rows, count))
        return Neighbours(*map(np.concatenate, zip(*found, strict=True)))


class HnswConfig(Config):
    """A navigable small-world graph (Malkov & Yashunin 2018), by faiss.

    Attributes:
        links: of each vector to others.
        build_width: candidates kept while a vector is inserted.
        width: candidates kept while searching.
    """

    kind: Literal["hnsw"] = "hnsw"
    links: int = Field(32, gt=1)
    build_width: int = Field(80, gt=0)
    width: int = Field(64, gt=0)

    def build(self, vectors: Vectors) -> Index:
        """Build the index.

        Raises:
            MissingExtraError: faiss is not installed.
        """
        faiss = _faiss()
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = self.build_width, self.width
        return Faiss(index, vectors)


class IvfConfig(Config):
    """An inverted file: vectors by their nearest of some centres (k-means), by faiss.

    Attributes:
        cells: centres; about √N are usual.
        probes: cells that are searched.
    """

    kind: Literal["ivf"] = "ivf"
    cells: int = Field(128, gt=0)
    probes: int = Field(8, gt=0)

    def build(self, vectors: Vectors) -> Index:
        """Build the index.

        Raises:
            ConfigError: there are fewer vectors than cells.
            MissingExtraError: faiss is not installed.
        """
        if len(vectors) < self.cells:
            raise ConfigError(
                f"{len(vectors)} vectors cannot fill {self.cells} cells",
                remedy=f"set cells to {max(1, int(len(vectors) ** 0.5))}",
            )
        faiss = _faiss()
        width = vectors.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, self.cells, metric)
        index.nprobe = self.probes
        # Without this, few vectors per cell are warned about on standard error.
        index.cp.min_points_per_centroid = 1
        index.train(directions(vectors))
        return Faiss(index, vectors)


class Faiss(Index):
    """An index of faiss over directions."""

    def __init__(self, index: Any, vectors: Vectors) -> None:
        super().__init__(vectors)
        self.index = index
        index.add(self.vectors)

    def search(self, queries: Vectors, count: int) -> Neighbours:
        similarities, numbers = self.index.search(directions(queries), count)
        return Neighbours(numbers, np.where(numbers == NONE, -np.inf, similarities))


IndexConfig = Annotated[
    ExactConfig | LshConfig | HnswConfig | IvfConfig, Field(discriminator="kind")
]


def recall(found: Neighbours, exact: Neighbours) -> float:
    """The share of the true neighbours that were found."""
    hits = sum(
        len(np.intersect1d(some, true))
        for some, true in zip(found.numbers, exact.numbers, strict=True)
    )
    return hits / exact.numbers.size


def directions(vectors: Vectors) -> Vectors:
    """Vectors of length one; zero stays zero."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return (vectors / lengths).astype(np.float32)


def _best(cosines: Vectors, rows: NDArray[np.int64], count: int) -> Neighbours:
    """The best `count` of each line of cosines (Q, rows), filled up with −1."""
    kept = min(count, cosines.shape[1])
    # A partition first: sorting all is several times slower.
    some = np.argpartition(-cosines, kept - 1, axis=1)[:, :kept] if kept else np.zeros((1, 0), int)
    order = np.argsort(-np.take_along_axis(cosines, some, 1), axis=1, kind="stable")
    places = np.take_along_axis(some, order, 1)
    values = np.take_along_axis(cosines, places, 1)
    missing = ((0, 0), (0, count - kept))
    return Neighbours(
        np.pad(rows[places], missing, constant_values=NONE),
        np.pad(values, missing, constant_values=-np.inf),
    )


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtraError(
            "this index needs faiss, which is not installed",
            remedy="pip install 'peluche[vectors]', or use exact or lsh",
        ) from None
    return faiss
