"""A sample of a sample table: fewer images, the same proportions, the same choice for the same seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from visrec.errors import InputError

TRAINING = ("train", "tune")


def limit_samples(samples: pd.DataFrame, limit: int | None, by: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Keep ``limit`` training images (train and tune together) and at most a third as many for each other split.

    Parameters
    ----------
    samples : sample table with ``split`` and ``label``
    limit : training images to keep; None keeps everything
    by : attributes whose proportions are kept beside the label's
    seed : of the choice

    Returns
    -------
    DataFrame in the order of ``samples``
    """
    if limit is None:
        return samples
    if limit < 1:
        raise InputError(f"limit is {limit}; expected at least 1 training image.")
    rng = np.random.default_rng([seed, 2])
    training = samples["split"].isin(TRAINING)
    kept = [_spread(samples[training], limit, by, rng)]
    for split in sorted(set(samples["split"][~training])):
        kept.append(_spread(samples[samples["split"] == split], limit // 3, by, rng))
    return samples.loc[np.concatenate(kept)].sort_index(kind="stable")


def spread_order(samples: pd.DataFrame, columns: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Positions of the rows, sorted by the columns and shuffled within equal ones.

    Taking every k-th row of this order keeps the proportions of the first column, of the first two, and so on, each
    to within one image: systematic sampling.
    """
    shuffled = rng.permutation(len(samples))
    if not len(samples):
        return shuffled
    keys = [pd.factorize(samples[c].astype("str"), sort=True)[0][shuffled] for c in columns if c in samples]
    return shuffled[np.lexsort(keys[::-1])] if keys else shuffled


def _spread(part: pd.DataFrame, count: int, by: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    n = len(part)
    if n <= count:
        return part.index.to_numpy()
    order = spread_order(part, ["split", "label", *by], rng)
    # in whole numbers, so that exactly `count` steps cross a multiple of n
    steps = (np.arange(n + 1, dtype=np.int64) * count + int(rng.integers(n))) // n
    return part.index.to_numpy()[order[np.diff(steps) > 0]]
