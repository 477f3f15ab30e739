"""A filter that tells most identities of a run from all others, one memory access each.

A blocked Bloom filter: the high half of an identity picks a block of two words of 64 bits, the low half five bits in
each of them. The blocks are in the order of the high halves, so the filter of a sorted run is written from front to
back. 32 bits an identity. The first word stops all but a few strangers in a thousand; the second stops most of these:
one in 12,000 (measured) costs a look at the run.
"""

import numpy as np
import numpy.typing as npt

from ingest.identity_index.records import Words

BITS_PER_IDENTITY = 32
BITS_SET = 5  # in each word
_ONE, _HALF, _SIX, _LAST_BIT = np.uint64(1), np.uint64(32), np.uint64(6), np.uint64(63)
_OF_SECOND = np.uint64(6 * BITS_SET)


def empty_filter(identities: int) -> Words:
    """The filter of a run with so many identities, before they are put in."""
    return np.zeros(word_count(identities), np.uint64)


def word_count(identities: int) -> int:
    """The words of that filter."""
    return 2 * (identities * BITS_PER_IDENTITY // 128 + 1)


def first_masks(low: Words) -> Words:
    """The bits of each identity in the first word of its block: the same in every filter."""
    rest, made = low, _ONE << (low & _LAST_BIT)
    for _ in range(BITS_SET - 1):
        rest = rest >> _SIX
        made |= _ONE << (rest & _LAST_BIT)
    return made


def set_bits(words: Words, high: Words, low: Words) -> None:
    """Put identities, ascending by `high`, into a filter."""
    places = _places(words, high)
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    words[places[starts]] |= np.bitwise_or.reduceat(first_masks(low), starts)
    words[places[starts] + 1] |= np.bitwise_or.reduceat(_second_masks(low), starts)


def passing(words: Words, high: Words, low: Words, first: Words) -> npt.NDArray[np.intp]:
    """The rows that the filter lets through: all that were put in, and a few more. `first` are their first masks."""
    places = _places(words, high)
    rows: npt.NDArray[np.intp] = np.flatnonzero((words.take(places) & first) == first)
    if not len(rows):
        return rows
    second = _second_masks(low[rows])
    passed: npt.NDArray[np.intp] = rows[(words.take(places[rows] + 1) & second) == second]
    return passed


def _second_masks(low: Words) -> Words:
    return first_masks(low >> _OF_SECOND)


def _places(words: Words, high: Words) -> npt.NDArray[np.int64]:
    """The first word of the block of each identity."""
    blocks: Words = ((high >> _HALF) * np.uint64(len(words) // 2)) >> _HALF
    return blocks.view(np.int64) * 2
