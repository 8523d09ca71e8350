"""The Bucket page: what is in a bucket, who is in it, and the way on."""

import pytest

from visrec.data.demo import make_tiny_bucket

PAGE = "pages/data/bucket.py"


@pytest.fixture
def tiny(places):
    """A small drawn bucket in FairFace's layout."""
    return make_tiny_bucket(places.buckets[0] / "tiny", 40)


def test_counts_are_the_labels(app, tiny):
    """The figures on top and the table below add up to the images of the bucket."""
    app.switch_page(PAGE).run()

    assert not app.error
    assert "60" == next(m.value for m in app.metric if m.label == "Labelled images")
    [table] = [d.value for d in app.dataframe if "all" in d.value]
    assert 60 == table["all"].sum()
    assert {"race", "neutral", "smiling"} <= set(table.columns)


def test_split_table_says_what_training_will_use(app, tiny):
    """Nobody should have to guess what the model is judged by."""
    app.switch_page(PAGE).run()

    [table] = [d.value for d in app.dataframe if "split" in d.value and "images" in d.value]
    assert 60 == table["images"].sum()
    assert any("val" in row for row in table["split"])


def test_no_bucket_at_all_is_one_button_away_from_the_demo(app):
    """A newcomer without data presses it and sees the drawn faces."""
    app.switch_page(PAGE).run()

    assert any("No bucket yet" in s.value for s in app.subheader)
    assert any(b.label == "Make the demo buckets" for b in app.button)


def test_empty_folder_is_a_sentence(app, places):
    """It says that the bucket is empty and what was expected."""
    (places.buckets[0] / "hollow").mkdir()
    app.switch_page(PAGE).run()

    [error] = app.error
    assert "is empty" in error.value


def test_unknown_bucket_in_the_url_is_named(app, tiny):
    """With the nearest one that exists."""
    app.query_params["bucket"] = "tinny"
    app.switch_page(PAGE).run()

    assert any("no bucket named 'tinny'" in w.value and "Did you mean 'tiny'" in w.value for w in app.warning)


def test_train_on_this_takes_the_bucket_along(app, tiny, places):
    """The button leads to the Train page with the same bucket chosen."""
    make_tiny_bucket(places.buckets[0] / "another", 20)
    app.query_params["bucket"] = "tiny"
    app.switch_page(PAGE).run()
    app.button(key="bucket_train").click().run()

    assert "Train" == app.title[0].value
    assert "tiny" == app.selectbox(key="bucket").value
