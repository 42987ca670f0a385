"""The cache of decoded blocks: which ones it keeps."""

import numpy as np
import pytest

from unet2015.blockcache import MOST_BYTES, BlockCache

BLOCK = np.zeros(10)


def decoded(cache, keys):
    """Get blocks one after the other; return the keys of those that were not cached."""
    found = []
    for key in keys:
        cache.get(key, lambda key=key: found.append(key) or BLOCK)
    return "".join(found)


def test_the_least_recently_used_block_is_dropped():
    assert decoded(BlockCache(2 * BLOCK.nbytes), "abacab") == "abcb"


def test_only_the_latest_block_is_kept_if_it_is_too_large():
    assert decoded(BlockCache(0), "aabaa") == "aba"


def test_a_block_that_two_threads_decode_at_once_counts_once():
    cache = BlockCache(2 * BLOCK.nbytes)
    cache.get("a", lambda: cache.get("a", lambda: BLOCK))
    assert decoded(cache, "bab") == "b"


@pytest.mark.parametrize(
    ("wanted", "again"), [(0, "abc"), (3 * BLOCK.nbytes, ""), (MOST_BYTES + 1, "abc")]
)
def test_more_is_reserved_unless_it_is_too_much(wanted, again):
    cache = BlockCache(2 * BLOCK.nbytes)
    cache.reserve(wanted)
    assert decoded(cache, "ab") == "ab"
    assert decoded(cache, "ab") == ""
    assert decoded(cache, "c") == "c"
    assert decoded(cache, "abc") == again
