"""Near-duplicate texts in a file of any size: Jaccard similarity of word 3-grams, by MinHash.

Candidates are found by MinHash in bands (Broder 1997, "On the resemblance and containment of
documents"; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4) and each is then
compared exactly, so that a pair that is reported is one. How much memory this takes does not
depend on how long the texts are: their 3-grams lie in a temporary file, 8 bytes each. Where every
pair has to be found and the texts fit into memory there is `similarity.near_pairs`.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from halo_forge.data.similarity import shingles

__all__ = ["NearDuplicates"]

_Hashes = npt.NDArray[np.uint64]
_Digests = npt.NDArray[np.uint32]

_FRAME_TEXTS = 10
_FRAME_SAMPLE = 200
_PERMUTATIONS = 128
_RECALL = 0.999
_CHUNK = 128
_CROWD = 32
_COMPARED = 16
_DOUBT = 0.2  # five standard deviations of what 128 permutations tell
_MIXER = np.uint64(0x9E3779B97F4A7C15)


class NearDuplicates:
    """Texts, and for each the earlier one that it nearly repeats.

    Among ten or more texts, a 3-gram that more than half of them have belongs to the frame around
    the task ("Write a program that ...") and is left out, otherwise every short task is near every
    other one. The frame is taken from two hundred of them.

    A pair at the threshold is found with a probability of 0.999, a nearer one almost surely; which
    ones are missed depends on ``seed`` alone. Where more than 32 texts share a band, each
    is held against the 32 before it, and compared exactly with the 16 that seem most alike.

    Args:
        threshold: Least similarity, in (0, 1].
        seed: Seed of the hash functions.
    """

    def __init__(self, threshold: float, *, seed: int = 0) -> None:
        self._threshold = threshold
        self._seed = seed
        self._rows = _band_rows(threshold)
        self._spool: IO[bytes] = tempfile.TemporaryFile(prefix="halo-forge-")  # noqa: SIM115
        self._ends = array("q", [0])

    def __enter__(self) -> Self:
        """Return the texts, none so far."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the temporary file back."""
        self._spool.close()

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._ends) - 1

    def add(self, text: str) -> None:
        """Take the next text."""
        (hashes,) = RMinHash.hash_token_sets([list(map(" ".join, shingles(text)))])
        row = np.sort(np.array(hashes, dtype=np.uint64))
        self._spool.write(row.tobytes())
        self._ends.append(self._ends[-1] + row.nbytes)

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Yield ``(position, position of an earlier text, similarity)`` by position."""
        frame = self._frame()
        with _Table(np.uint8, len(self), _PERMUTATIONS) as signatures:
            with _Table(np.uint32, len(self), _PERMUTATIONS // self._rows) as bands:
                for start in range(0, len(self), _CHUNK):
                    rows = [self._bare(at, frame) for at in self._range(start)]
                    digests = self._digests(rows)
                    # One byte tells whether two minima are equal nearly as well as all four do
                    # (Li and Konig 2010, "b-Bit minwise hashing").
                    signatures.write(digests.astype(np.uint8))
                    bands.write(self._keys(digests, rows, start))
                before = _before(bands.read())
            yield from self._compared(before, signatures.read(), frame)

    def _compared(
        self, before: _Before, signatures: npt.NDArray[np.uint8], frame: _Hashes
    ) -> Iterator[tuple[int, int, float]]:
        least = (self._threshold - _DOUBT) * _PERMUTATIONS
        for at in range(len(self)):
            others = before.of(at)
            if not others.size:
                continue
            alike = (signatures[others] == signatures[at]).sum(axis=1)
            best = np.argsort(-alike, kind="stable")[:_COMPARED]
            one = self._bare(at, frame)
            for other in others[best][alike[best] >= least].tolist():
                similarity = _similarity(one, self._bare(other, frame))
                if similarity >= self._threshold:
                    yield at, other, similarity
                    break

    def _range(self, start: int) -> range:
        return range(start, min(start + _CHUNK, len(self)))

    def _frame(self) -> _Hashes:
        every = range(0, len(self), 1 + len(self) // _FRAME_SAMPLE)
        none = np.zeros(0, dtype=np.uint64)
        if len(every) < _FRAME_TEXTS:
            return none
        sampled = np.concatenate([self._bare(at, none) for at in every])
        hashes, times = np.unique(sampled, return_counts=True)
        return hashes[times > len(every) / 2]

    def _bare(self, at: int, frame: _Hashes) -> _Hashes:
        """Return the 3-grams of a text without the frame, sorted."""
        start, end = self._ends[at], self._ends[at + 1]
        self._spool.seek(start)
        row = np.frombuffer(self._spool.read(end - start), dtype=np.uint64)
        return row[~np.isin(row, frame)] if frame.size else row

    def _digests(self, rows: Sequence[_Hashes]) -> _Digests:
        ends = np.cumsum([0, *map(len, rows)], dtype=np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            np.concatenate(rows), ends, _PERMUTATIONS, self._seed
        )
        return np.array(matrix.to_rows(), dtype=np.uint32)

    def _keys(self, digests: _Digests, rows: Sequence[_Hashes], start: int) -> _Digests:
        """Return for each text one number a band: equal bands, equal numbers."""
        mixed = np.zeros((len(rows), _PERMUTATIONS // self._rows), dtype=np.uint64)
        for row in range(self._rows):
            mixed = (mixed ^ digests[:, row :: self._rows][:, : mixed.shape[1]]) * _MIXER
            mixed ^= mixed >> np.uint64(29)
        # A text of which nothing is left is near none: its numbers are its own.
        empty = [number for number, row in enumerate(rows) if not row.size]
        mixed[empty] = (np.array(empty, dtype=np.uint64) + np.uint64(start))[:, None]
        return mixed.astype(np.uint32)


class _Table:
    """A table of numbers in a temporary file, written from above and then read anywhere."""

    def __init__(self, kind: type[np.generic], rows: int, columns: int) -> None:
        self._kind = kind
        self._shape = rows, columns
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="halo-forge-")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: npt.NDArray[Any]) -> None:
        self._file.write(rows.tobytes())

    def read(self) -> npt.NDArray[Any]:
        self._file.flush()
        if not self._shape[0]:
            return np.zeros(self._shape, dtype=self._kind)
        return np.memmap(self._file, dtype=self._kind, mode="r", shape=self._shape)


@dataclass(frozen=True)
class _Before:
    """For each band and text the text before it with the same number, or -1."""

    links: npt.NDArray[np.int32]

    def of(self, at: int) -> npt.NDArray[np.int32]:
        """Return the earlier texts that share a band with the text, at most 32 a band."""
        now = self.links[:, at]
        met: list[npt.NDArray[np.int32]] = []
        bands = np.flatnonzero(now >= 0)
        while bands.size and len(met) < _CROWD:
            now = now[now >= 0]
            met.append(now)
            now = self.links[bands, now]
            bands = bands[now >= 0]
        return np.unique(np.concatenate(met)) if met else now[:0]


def _before(keys: npt.NDArray[np.uint32]) -> _Before:
    links = np.full(keys.shape[::-1], -1, dtype=np.int32)
    for band in range(keys.shape[1]):
        column = np.array(keys[:, band])
        order = np.argsort(column, kind="stable").astype(np.int32)
        same = column[order[1:]] == column[order[:-1]]
        links[band, order[1:][same]] = order[:-1][same]
    return _Before(links)


def _similarity(left: _Hashes, right: _Hashes) -> float:
    shared = int(np.intersect1d(left, right, assume_unique=True).size)
    union = left.size + right.size - shared
    return shared / union if union else 0.0


def _band_rows(threshold: float) -> int:
    """Return the most rows a band may have to find a pair at the threshold as promised.

    With similarity s, b bands of r rows find a pair with probability 1 - (1 - s^r)^b.
    """
    for rows in range(16, 1, -1):
        if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _RECALL:
            return rows
    return 1
