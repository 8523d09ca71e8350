"""A summary: the counts of a bucket as the command line and the bucket page show them."""

import pandas as pd

from visrec.data.table import BucketTable

UNKNOWN = "(unknown)"


def summarise(table: BucketTable, target: str | None = None) -> dict:
    """Layout, number of images, and counts by label, attribute and split, with the problems.

    Parameters
    ----------
    target : column whose values are the labels; None = the bucket's own

    Returns
    -------
    dict
        ``layout``, ``images`` (all image objects, labelled or not), ``labelled``, ``target``, ``labels``
        {label: count}, ``attributes`` {name: {value: count}}, ``splits`` {split: count; "" = none given}, ``problems``
    """
    samples, target = table.samples, target or table.target
    return {
        "layout": table.layout,
        "images": len(table.images),
        "labelled": len(samples),
        "target": target,
        "targets": list(table.targets),
        "labels": counts(samples[target]) if target else {},
        "attributes": {name: counts(samples[name]) for name in table.attributes},
        "splits": counts(samples["split"]),
        "problems": [problem.to_dict() for problem in table.problems],
        "repairs": list(table.repairs),
    }


def counts(values: pd.Series) -> dict[str, int]:
    """value -> count, most frequent first, ties by name; missing values as ``(unknown)``."""
    counted = values.astype("str").fillna(UNKNOWN).value_counts()
    return {str(k): int(v) for k, v in sorted(counted.items(), key=lambda item: (-item[1], item[0]))}
