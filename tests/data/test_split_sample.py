"""Tests for visrec.data.split and visrec.data.sample: seeded, proportional, groups kept whole."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visrec.data.sample import limit_samples
from visrec.data.split import assign_splits
from visrec.data.table import BucketTable
from visrec.errors import InputError
from visrec.storage.base import ObjectInfo


def table(n=600, split="", seed=0, etags=None) -> BucketTable:
    rng = np.random.default_rng(seed)
    samples = pd.DataFrame(
        {
            "file": [f"{i:05}.jpg" for i in range(n)],
            "split": split,
            "label": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
            "race": rng.choice(["x", "y", "z"], n),
        }
    ).astype("str")
    objects = {f: ObjectInfo(f, 1, (etags or {}).get(f, f)) for f in samples["file"]}
    return BucketTable(
        "label_table", samples, ["label", "race"], ["label", "race"], {"target": "label"}, objects=objects
    )


def shares(samples, columns):
    return samples.groupby(columns).size() / len(samples)


def test_bucket_without_splits_gets_a_fifth_to_validate_and_a_tenth_to_tune():
    """Of 600: 120 val, then a tenth of the 480 left."""
    assert {"train": 432, "val": 120, "tune": 48} == assign_splits(table()).split.value_counts().to_dict()


def test_splits_of_the_bucket_stay():
    """Images given to val and test are never trained on."""
    given_splits = np.resize(["train", "train", "val", "test"], 400)
    samples = assign_splits(table(400, given_splits))

    for split in ("val", "test"):
        assert list(samples["file"][samples["split"] == split]) == list(samples["file"][given_splits == split])
    assert 20 == (samples["split"] == "tune").sum()


def test_same_seed_same_split_whatever_the_order_of_calls():
    """No global state: a second call draws the same, another seed another."""
    first, again, other = assign_splits(table()), assign_splits(table()), assign_splits(table(), seed=1)

    assert first.equals(again)
    assert not first["split"].equals(other["split"])


def test_proportions_of_label_and_attribute_are_kept():
    """Each label within one image, each label x race within two."""
    samples = assign_splits(table(), by=["race"])
    for columns, allowed in ((["label"], 1.001), (["label", "race"], 2.001)):
        whole = shares(samples, columns)
        for split, part in samples.groupby("split"):
            off = (shares(part, columns) - whole).abs().max() * len(part)
            assert off <= allowed + 0.3 * (split == "train"), (split, columns)


def test_groups_are_never_torn():
    """Frames of one video stay in one split."""
    whole = table()
    groups = pd.Series((np.arange(600) // 7).astype(str), index=whole.samples["file"])

    samples = assign_splits(whole, groups=groups)

    assert 1 == samples.groupby(samples["file"].map(groups))["split"].nunique().max()
    assert 90 <= (samples["split"] == "val").sum() <= 150


def test_byte_identical_images_stay_together():
    """Where the store tells the MD5, it serves as the group."""
    etags = {f"{i:05}.jpg": f"{i // 2:032x}" for i in range(600)}
    samples = assign_splits(table(etags=etags))

    assert 1 == samples.groupby(samples["file"].str[:5].astype(int) // 2)["split"].nunique().max()


def test_class_of_one_image_is_trained_on():
    """It cannot be judged, but it must not be lost to training."""
    whole = table(50)
    whole.samples.loc[7, "label"] = "only one"

    samples = assign_splits(whole)

    assert ["train"] == list(samples["split"][samples["label"] == "only one"])


def test_images_without_the_label_are_left_out():
    """An unknown label is no class."""
    whole = table(50)
    whole.samples.loc[:9, "label"] = None

    assert 40 == len(assign_splits(whole))


def test_mistyped_columns_get_the_nearest():
    """The message helps."""
    with pytest.raises(InputError, match="Did you mean 'race'"):
        assign_splits(table(), by=["rac"])
    with pytest.raises(InputError, match="Did you mean 'label'"):
        assign_splits(table(), "lable")


def test_single_class_is_refused():
    """A classifier needs two."""
    whole = table(20)
    whole.samples["label"] = "a"

    with pytest.raises(InputError, match="at least two classes"):
        assign_splits(whole)


def test_target_takes_the_place_of_label():
    """Predicting race: `label` is the race, and the bucket's own label column is kept under another name."""
    samples = assign_splits(table(), "race")

    assert list(samples["label"]) == list(samples["race"])
    assert "label (column)" in samples


@pytest.mark.parametrize("limit", [1, 30, 100, 299])
def test_limit_counts_training_images_exactly(limit):
    """N of train and tune together, at most a third as many to validate."""
    samples = limit_samples(assign_splits(table()), limit, ["race"])
    counts = samples["split"].value_counts()

    assert limit == counts.drop("val", errors="ignore").sum()
    assert counts.get("val", 0) == min(120, limit // 3)


def test_limited_sample_keeps_proportions_and_order():
    """Label shares within one image; rows in the order they had."""
    whole = assign_splits(table(3000), by=["race"])
    part = limit_samples(whole, 600, ["race"])

    train_whole, train_part = (s[s["split"].isin(["train", "tune"])] for s in (whole, part))
    assert (shares(train_part, ["label"]) - shares(train_whole, ["label"])).abs().max() < 2.5 / 600
    assert part.index.is_monotonic_increasing
    assert part.equals(limit_samples(whole, 600, ["race"]))
    assert not part.equals(limit_samples(whole, 600, ["race"], seed=1))


def test_no_limit_and_a_large_limit_keep_everything():
    """Nothing to do."""
    whole = assign_splits(table(90))

    assert whole.equals(limit_samples(whole, None))
    assert 72 == (limit_samples(whole, 5000)["split"] != "val").sum()


def test_limit_of_nothing_is_refused():
    """Zero images train nothing."""
    with pytest.raises(InputError, match="at least 1"):
        limit_samples(assign_splits(table()), 0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 5)), min_size=2, max_size=60),
    st.integers(0, 5),
)
def test_any_table_is_split_without_tearing_or_losing(rows, seed):
    """Whatever the table: every image in one split, groups whole, every class trained on."""
    if len({label for label, _, _ in rows}) < 2:
        return
    samples = pd.DataFrame(
        {
            "file": [f"{i}.jpg" for i in range(len(rows))],
            "split": "",
            "label": [r[0] for r in rows],
            "race": [r[1] for r in rows],
        }
    ).astype("str")
    groups = pd.Series([str(r[2]) for r in rows], index=samples["file"])
    split = assign_splits(
        BucketTable("label_table", samples, ["label"], ["race"], {"target": "label"}),
        by=["race"],
        seed=seed,
        groups=groups,
    )

    assert len(samples) == len(split)
    assert {"train"} <= set(split["split"]) <= {"train", "tune", "val"}
    assert set(split["label"]) == set(split["label"][split["split"] == "train"])
    torn = split.groupby(split["file"].map(groups))["split"].nunique() > 1
    assert not torn.any()
