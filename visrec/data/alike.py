"""Alike images: the same bytes, or so nearly the same picture that to judge on one after training on the other is to
judge on what was learned by heart.

Near-duplicates are found by difference hashes of 128 bits (each says whether a grey is brighter than its neighbour),
and believed only if the small pictures themselves agree; pictures with nothing in them (black, foggy) are left out.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from visrec.data.scan import THUMB, scan, thumbs
from visrec.data.table import BucketTable
from visrec.storage.base import Store

BITS = 128
BANDS = 8  # bands of 16 bits: two hashes that differ in at most 7 bits share at least one
MAX_DISTANCE = 7
MIN_CONTRAST = 8.0  # standard deviation of greys, below which there is no picture to compare
MIN_CORRELATION = 0.985
MAX_DIFFERENCE = 10.0  # mean absolute difference of greys
FEW_REMOTE = 2000  # images that are looked at before the split even if they lie far away
MAX_CROWD = 200  # of the pictures that share a band value, up to which each is compared with each
NEIGHBOURS = 4  # in a larger crowd, each is compared with so many that follow it in the order of their hashes
BLOCK = 50_000  # pairs compared at once, which bounds the memory


def near_pairs(facts: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of keys whose pictures are nearly the same, bytes differing; ``facts`` as from `scan`."""
    seen = facts[facts["thumb"].notna()].drop_duplicates("sha256")
    if len(seen) < 2:
        return []
    greys = thumbs(seen)
    spread = greys.std(axis=1)
    seen, greys = seen[spread >= MIN_CONTRAST], greys[spread >= MIN_CONTRAST]
    if len(seen) < 2:
        return []
    bits = difference_bits(greys)
    left, right = _candidates(bits)
    keys = seen.index.to_numpy()
    found = []
    for start in range(0, len(left), BLOCK):
        one, other = left[start : start + BLOCK], right[start : start + BLOCK]
        near = _near(bits, one, other)
        one, other = one[near], other[near]
        alike = _agree(greys[one], greys[other])
        found += zip(keys[one[alike]], keys[other[alike]], strict=True)
    return sorted(found)


def difference_bits(greys: np.ndarray) -> np.ndarray:
    """128 bits a picture, bool (n, 128): brighter than the right neighbour, than the lower one, on 8 x 8 places."""
    n = len(greys)
    pictures = greys.reshape(n, THUMB // 2, 2, THUMB // 2, 2).mean(axis=(2, 4))
    wide = np.concatenate([pictures, pictures[:, :, :1]], axis=2)
    tall = np.concatenate([pictures, pictures[:, :1]], axis=1)
    return np.concatenate(
        [(wide[:, :, 1:] > wide[:, :, :-1]).reshape(n, -1), (tall[:, 1:] > tall[:, :-1]).reshape(n, -1)], axis=1
    )


def groups(keys: list[str], pairs: list[tuple[str, str]]) -> pd.Series:
    """key -> the first key of its group; keys that no pair joins are groups of their own."""
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for one, other in pairs:
        if one in parent and other in parent:
            first, second = sorted((root(one), root(other)))
            parent[second] = first
    return pd.Series({key: root(key) for key in keys}, dtype="str")


def same_bytes(facts: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs that join all images of the same bytes."""
    repeated = facts[facts["sha256"].duplicated(keep=False) & facts["sha256"].notna() & (facts["status"] == "ok")]
    keys = repeated.groupby("sha256").groups.values()
    return [(members[0], other) for members in map(list, keys) for other in members[1:]]


def _near(bits: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (bits[one] != bits[other]).sum(axis=1) <= MAX_DISTANCE


def _candidates(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share a band, as rows of the lower and of the higher number; of a crowd, enough of them to join it."""
    count = len(bits)
    packed = np.packbits(bits, axis=1).view(np.uint16)
    pairs: set[int] = set()  # a pair (a, b) as a * count + b, which takes a fraction of the memory
    crowded = []
    for band in range(BANDS):
        order = np.argsort(packed[:, band], kind="stable")
        values = packed[order, band]
        edges = np.flatnonzero(np.diff(values)) + 1
        for crowd in np.split(order, edges):
            if 1 < len(crowd) <= MAX_CROWD:
                pairs.update(a * count + b for a, b in combinations(sorted(crowd.tolist()), 2))
            elif len(crowd) > MAX_CROWD:
                crowded += [a * count + b for a, b in _neighbours(bits, packed, crowd, band)]
    few = np.fromiter(pairs, dtype=np.int64, count=len(pairs))
    return np.divmod(np.unique(np.concatenate([few, *crowded])), count)


def _neighbours(bits: np.ndarray, packed: np.ndarray, crowd: np.ndarray, band: int):
    """Near pairs (lower rows, higher rows) of those that follow each other when a crowd is sorted by its hashes.

    The hashes are read from the band on that the crowd shares, so each band sorts in another order, and what one order
    tears apart another keeps together.
    """
    turned = np.roll(packed[crowd], -band, axis=1)
    ranked = crowd[np.lexsort(turned.T[::-1])]
    for step in range(1, NEIGHBOURS + 1):
        one, other = ranked[:-step], ranked[step:]
        near = _near(bits, one, other)
        yield np.minimum(one, other)[near].astype(np.int64), np.maximum(one, other)[near].astype(np.int64)


def _agree(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    difference = np.abs(one - other).mean(axis=1)
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (one, other))
    correlation = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (difference <= MAX_DIFFERENCE) & (correlation >= MIN_CORRELATION)


def content_groups(
    store: Store, table: BucketTable, cache_dir: Path | None, decisions: Mapping[str, str]
) -> pd.Series | None:
    """file -> group of alike images, for `visrec.data.split.assign_splits`; None where the ETags must do.

    Only a bucket without a validation split of its own needs it. Its images are looked at (`visrec.data.scan`), if
    they lie on this machine or are few: from afar, reading everything twice would cost more than it saves.
    """
    samples = table.samples
    if (samples["split"] == "val").any() or decisions.get("near_duplicate") == "ignore":
        return None
    files = samples["file"].to_list()
    if store.local_path(files[0]) is None and len(files) > FEW_REMOTE:
        return None
    facts = scan(store, table.objects, files, cache_dir)
    return groups(files, [*same_bytes(facts), *near_pairs(facts)])
