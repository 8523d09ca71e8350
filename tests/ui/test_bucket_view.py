"""Tests for visrec.ui.bucket_view, visrec.ui.buckets and visrec.ui.atlas_job_view: names that a bucket may choose."""

from types import SimpleNamespace

import pandas as pd
import pytest

from visrec.ui import atlas_job_view, bucket_view, buckets, cached

MARKUP = "<b>70+</b>"


def test_classes_may_be_named_as_columns_of_the_split_table(monkeypatch):
    """Class folders images/ and masks/, or a class named split."""
    samples = pd.DataFrame({"split": ["train"] * 3 + ["val"], "label": ["images", "images", "split", "masks"]})
    monkeypatch.setattr(cached, "bucket_table", lambda url: None)
    monkeypatch.setattr("visrec.data.split.assign_splits", lambda *_: samples)
    counts = buckets.split_counts("u", "names", "label", (), 0)

    assert ["split", "images", "images (label)", "masks", "split (label)"] == list(counts.columns)
    assert [3, 1] == list(counts["images"])
    assert [2, 0] == list(counts["images (label)"])


@pytest.mark.parametrize("name", ["all", "race"])
def test_no_class_vanishes_behind_the_sum_or_the_attribute(name):
    """A class of that name is counted and drawn beside it."""
    samples = pd.DataFrame({"label": [name, name, "none"], "race": ["a", "b", "b"]})
    counts = bucket_view.label_counts(samples, "label", "race")

    assert {f"{name} (label)": [1, 1], "none": [0, 1], "all": [1, 2]} == counts.to_dict("list")
    assert {f"{name} (label)", "none"} == {bar.name for bar in bucket_view.label_bars(counts).data}
    assert {"race", f"{name} (label)", "none", "all"} == set(counts.reset_index())


def test_values_never_become_markup_on_an_axis():
    """Plotly reads a little HTML in the names of categories, too."""
    samples = pd.DataFrame({"label": ["x", "y"], "race": [MARKUP, "b"], "age": ["c", MARKUP]})
    [bars, *_] = bucket_view.label_bars(bucket_view.label_counts(samples, "label", "race")).data
    [cells] = bucket_view.cell_map(bucket_view.cell_counts(samples, "race", "age")).data

    for names in (bars.y, cells.x, cells.y):
        assert "&lt;b&gt;70+&lt;/b&gt;" in names
        assert MARKUP not in names


def test_names_of_columns_never_become_markdown():
    """In the help of a figure, and in a heading."""
    name = "[race](http://x)"
    table = SimpleNamespace(attributes=[name], images=[], samples=pd.DataFrame({"file": []}))
    helped = next(text for label, _, text in buckets.headline(table, []) if label == "Attributes")

    assert r"\[race\]\(http" in helped
    assert r"\[race\]\(http" in atlas_job_view._names([name])
