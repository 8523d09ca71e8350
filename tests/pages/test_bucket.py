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


def test_bucket_of_the_url_is_never_markdown(app, tiny):
    """Whoever sends a link must not put a link of their own on the page."""
    app.query_params["bucket"] = "[click](http://evil)"
    app.switch_page(PAGE).run()

    [warning] = [w.value for w in app.warning if "no bucket named" in w.value]
    assert "[click](" not in warning


def test_train_on_this_takes_the_bucket_along(app, tiny, places):
    """The button leads to the Train page with the same bucket chosen."""
    make_tiny_bucket(places.buckets[0] / "another", 20)
    app.query_params["bucket"] = "tiny"
    app.switch_page(PAGE).run()
    app.button(key="bucket_train").click().run()

    assert "Train" == app.title[0].value
    assert "tiny" == app.selectbox(key="bucket").value


def test_looking_at_every_image_names_what_the_labels_cannot_tell(app, tiny):
    """A damaged image and a copy across the splits are found by reading pixels, and the copy may be decided upon."""
    train, val = sorted((tiny / "train").glob("*.jpg")), sorted((tiny / "val").glob("*.jpg"))
    train[0].write_bytes(b"no image at all")
    val[0].write_bytes(train[1].read_bytes())
    app.switch_page(PAGE).run()
    app.button(key="bucket_examine").click().run()

    assert not app.exception
    assert not app.error
    titles = [e.label for e in app.expander]
    assert any("Duplicate across splits" in title for title in titles)
    assert any("image" in title.lower() and "error" in title for title in titles)


def test_decision_is_kept_for_the_next_training(app, tiny, places):
    """Chosen on the page, read by `visrec train`; the bucket itself stays as it is."""
    from visrec.data.decisions import CHOICES, load_decisions
    from visrec.storage.buckets import open_bucket

    train = sorted((tiny / "train").glob("*.jpg"))
    train[0].write_bytes(train[1].read_bytes())
    app.switch_page(PAGE).run()
    app.button(key="bucket_examine").click().run()
    control = next(c for c in app.segmented_control if str(c.key).startswith("decide_"))
    kind = control.key.removeprefix("decide_").rpartition("_" + str(tiny))[0]
    other = next(choice for choice in CHOICES[kind] if choice != control.value)
    control.set_value(other).run()

    assert not app.error
    kept = load_decisions(places.cache, open_bucket("tiny", places).url)
    assert {kind: other} == kept


@pytest.fixture
def spelled(tiny):
    """The small bucket with labels of its own: two of them say Cat instead of cat; visrec.toml keeps that apart."""
    images = sorted(path.relative_to(tiny).as_posix() for path in tiny.rglob("*.jpg"))
    labels = ["Cat", "Cat", *["cat", "dog"] * len(images)]
    lines = [f"{file},{label},{'ab'[n % 2]}" for n, (file, label) in enumerate(zip(images, labels, strict=False))]
    (tiny / "labels.csv").write_text("\n".join(["file,label,site", *lines]))
    (tiny / "visrec.toml").write_text(
        'layout = "label_table"\n[labels]\ntable = "labels.csv"\n[decisions]\nalias_label = "keep"\n'
    )
    return tiny


def chosen(app, kind: str) -> str:
    return next(c.value for c in app.segmented_control if str(c.key).startswith(f"decide_{kind}"))


def test_decision_in_force_is_shown_before_any_image_was_looked_at(app, spelled, places):
    """From visrec.toml, then one that the command line keeps: the page shows what training does."""
    from visrec.data.decisions import save_decisions
    from visrec.storage.buckets import open_bucket
    from visrec.ui import cached

    app.switch_page(PAGE).run()
    assert "keep" == chosen(app, "alias_label")

    save_decisions(places.cache, open_bucket("tiny", places).url, {"alias_label": "merge"})
    cached.forget_buckets()
    app.run()
    assert not app.exception
    assert "merge" == chosen(app, "alias_label")


def test_disparity_follows_a_decision_about_the_labels(app, spelled):
    """Two spellings are two classes until they are merged; what was computed before is not shown again."""
    app.switch_page(PAGE).run()
    outcomes = lambda: next(c for c in app.selectbox if c.label == "Share labelled")
    assert ["Cat", "cat", "dog"] == sorted(outcomes().options)
    outcomes().set_value("cat").run()
    before = next(m.value for m in app.markdown if "Largest gap between groups" in m.value)
    next(c for c in app.segmented_control if str(c.key).startswith("decide_alias_label")).set_value("merge").run()

    assert not app.exception
    assert ["cat", "dog"] == sorted(outcomes().options)
    assert before != next(m.value for m in app.markdown if "Largest gap between groups" in m.value)


def test_labels_own_disparity_is_told_before_any_training(app, tiny):
    """Each group's share of a label, and AIF360's two figures with a verdict, for the group that one chooses."""
    app.switch_page(PAGE).run()

    assert not app.error
    assert ["neutral", "smiling"] == next(c for c in app.selectbox if c.label == "Share labelled").options
    said = [m.value for m in app.markdown if "of the labels:" in m.value]
    assert 2 == len(said)
    assert all(any(v in text for v in ("supported", "cannot tell", "too few images")) for text in said)
    other = next(c for c in app.selectbox if c.label == "Reference group")
    other.set_value(other.options[-1]).run()
    assert not app.error


def test_plan_counts_the_images_that_judge(app, tiny):
    """The validation images, by the attribute chosen above; a smaller gap needs more of them."""
    app.switch_page(PAGE).run()
    column = "images lacking"
    [plan] = [d.value for d in app.dataframe if column in d.value]

    assert 20 == plan["images"].sum()
    app.segmented_control(key="bucket_by").set_value("gender").run()
    [plan] = [d.value for d in app.dataframe if column in d.value]
    assert {"Female", "Male"} == set(plan["Gender"])


def test_store_that_does_not_answer_leaves_the_folders(app, tiny, monkeypatch):
    """The local bucket is offered, the fault is a sentence, and no key is on the page."""
    secret = {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "very-secret"}
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    app.switch_page(PAGE).run()

    assert not app.error
    assert any("127" in w.value for w in app.warning)
    assert ["tiny"] == app.selectbox(key="bucket").options
    app.radio(key="bucket_place").set_value(1).run()
    app.button(key="bucket_connection").click().run()
    assert 1 == len(app.error)
    shown = " ".join(str(e.value) for kind in (app.markdown, app.error, app.warning, app.caption) for e in kind)
    assert "AKIDEXAMPLE" not in shown
    assert "very-secret" not in shown


def test_connection_that_works_says_so(app, tiny, monkeypatch):
    """A real S3 server on this machine, one bucket on it."""
    from moto.server import ThreadedMotoServer

    from visrec.config import S3Settings
    from visrec.storage.s3 import client

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        client(S3Settings(None, "AKIDEXAMPLE", "very-secret", url)).create_bucket(Bucket="faraway")
        for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(name, value)
        app.query_params["bucket"] = "tiny"
        app.switch_page(PAGE).run()
        app.radio(key="bucket_place").set_value(1).run()
        app.button(key="bucket_connection").click().run()

        assert not app.error
        assert any("answered in" in s.value for s in app.success)
        assert {"faraway", "tiny"} <= set(app.selectbox(key="bucket").options)
    finally:
        server.stop()


def test_a_connection_from_the_secrets_is_tested_and_its_bucket_opened(app, tiny):
    """A `[cos.NAME]` table is a place like the others: ask it, pick its bucket, look into it; no key is on the page."""
    from moto.server import ThreadedMotoServer

    from visrec.config import S3Settings
    from visrec.storage.s3 import S3Store, client

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "very-secret"}
        s3 = S3Settings(endpoint_url=url, **keys)
        client(s3).create_bucket(Bucket="tiny")
        for path in sorted((tiny).rglob("*")):
            if path.is_file():
                S3Store("tiny", "", s3).write(f"{path.relative_to(tiny)}", path.read_bytes())
        app.secrets["cos"] = {"eu": {"endpoint_url": url, **keys}}
        app.switch_page(PAGE).run()
        app.radio(key="bucket_place").set_value(1).run()
        app.button(key="bucket_connection").click().run()
        assert any("answered in" in s.value for s in app.success)
        app.selectbox(key="bucket_pick_Object storage eu").set_value("s3://eu@tiny").run()
        app.button(key="bucket_open").click().run()

        assert not app.exception
        assert not app.error
        assert "s3://eu@tiny" == app.selectbox(key="bucket").value
        assert "60" == next(m.value for m in app.metric if m.label == "Labelled images")
        shown = " ".join(str(e.value) for kind in (app.markdown, app.error, app.success, app.caption) for e in kind)
        assert "AKIDEXAMPLE" not in shown
        assert "very-secret" not in shown
    finally:
        server.stop()


def test_fit_is_shown_on_the_longest_images_and_goes_to_the_training(app, places):
    """Before and after for what the choice matters to; *Train on this* takes the choice along."""
    from PIL import Image

    root = make_tiny_bucket(places.buckets[0] / "tiny", 40)
    first = next(root.rglob("*.jpg"))
    for path in sorted(first.parent.glob("*.jpg")):
        Image.open(path).resize((96, 40)).save(path)
    app.switch_page(PAGE).run()
    app.segmented_control(key="bucket_fit").set_value("pad").run()

    assert not app.exception
    assert any("white bars" in c.value for c in app.caption)
    app.button(key="bucket_train").click().run()
    assert "pad" == app.selectbox(key="train_fit").value


def test_squares_are_those_of_training():
    """The after picture is made by the very function that prepares the pixels."""
    import io

    from PIL import Image

    from visrec.ui.bucket_view_fit import longest, squared

    wide, square = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (60, 20), "red").save(wide, "PNG")
    Image.new("RGB", (20, 20), "red").save(square, "PNG")
    after = Image.open(io.BytesIO(squared(wide.getvalue(), "pad", 30)))

    assert ["w"] == list(longest({"s": square.getvalue(), "w": wide.getvalue(), "x": None}))
    assert ((255, 255, 255), (255, 0, 0)) == (after.getpixel((15, 2)), after.getpixel((15, 15)))
