"""The parts of training that touch no model: weights files, presets, weighting, augmentation, watched cells."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from visrec.config import TrainConfig
from visrec.data.table import BucketTable
from visrec.errors import InputError, OutsideError
from visrec.model import augment, mobilenet, presets
from visrec.model.watch import Watch, accuracy, worst_cell
from visrec.model.weighting import sample_weights


def table(**defaults):
    """A bucket with two columns and its own settings."""
    samples = pd.DataFrame({"file": ["a", "b"], "split": ["train", "val"], "gender": ["F", "M"], "race": ["x", "y"]})
    return BucketTable("label_table", samples, ["gender", "race"], ["gender", "race"], defaults)


class TestPresets:
    """What the user gave wins, then the bucket, then the preset."""

    def test_order_of_precedence(self):
        """Explicit options win over everything."""
        bucket = table(target="gender", image_size=64, epochs=7)

        config = presets.resolve(TrainConfig("b", epochs=3), bucket)

        assert (config.target, config.image_size, config.epochs) == ("gender", 64, 3)
        assert config.alpha == presets.PRESETS["balanced"]["alpha"]
        assert config.by == ("race",)

    def test_quick_and_thorough_scale_the_epochs_of_the_bucket(self):
        """A bucket's own settings are its balanced ones; the other presets must not be without effect."""
        found = {
            p: presets.resolve(TrainConfig("b", preset=p), table(target="gender", fine_tune_epochs=10))
            for p in presets.PRESETS
        }

        assert {p: c.fine_tune_epochs for p, c in found.items()} == {"quick": 5, "balanced": 10, "thorough": 20}

    def test_the_width_is_read_from_the_weights_file(self):
        """The file's name says which network it belongs to; nobody should have to say it twice."""
        path = "/x/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"

        assert presets.resolve(TrainConfig("b", target="gender", weights=path), table()).alpha == 0.35

    def test_a_column_named_label_is_not_watched_beside_another_target(self):
        """A run calls what it predicts label, so the column would be watched under the target's values."""
        bucket = table()
        bucket.samples["label"] = ["0", "1"]
        columns = ["label", "gender", "race"]
        bucket = BucketTable("label_table", bucket.samples, columns, columns, {})

        assert presets.resolve(TrainConfig("b", target="gender"), bucket).by == ("race",)
        assert presets.resolve(TrainConfig("b", target="label"), bucket).by == ("gender", "race")
        with pytest.raises(InputError, match="rename the bucket's column 'label'"):
            presets.resolve(TrainConfig("b", target="gender", by=("label",)), bucket)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"target": "gendr"}, "Did you mean 'gender'"),
            ({}, "Several columns could be predicted"),
            ({"target": "gender", "by": ("rce",)}, "Did you mean 'race'"),
            ({"target": "gender", "preset": "fast"}, "The preset 'fast' is not known"),
            ({"target": "gender", "image_size": 9}, "expected 32 to 512"),
            ({"target": "gender", "epochs": 0, "fine_tune_epochs": 0}, "nothing would be trained"),
            ({"target": "gender", "sample_weights": "klass"}, "Did you mean 'class'"),
            (
                {"target": "gender", "weights": "imagenet", "alpha": 0.6},
                r"no ImageNet weights of width 0\.6.*0\.5, 0\.75",
            ),
            (
                {"target": "gender", "by": (), "sample_weights": "group"},
                r"none is watched.*--by \(there are: gender, race",
            ),
            ({"target": "gender", "by": (), "sample_weights": "reweighing"}, "none is watched"),
        ],
    )
    def test_an_impossible_option_is_named(self, options, said):
        """One sentence says what was expected."""
        with pytest.raises(InputError, match=said):
            presets.resolve(TrainConfig("b", **options), table())

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({"image_size": "128"}, r"visrec\.toml says image_size = '128'.*whole number, without quotes"),
            ({"epochs": 2.5}, "whole number"),
            ({"alpha": "1.0"}, "a number, without quotes"),
            ({"mirror": "no"}, "true or false"),
            ({"batch_size": True}, "whole number"),
            ({"weights": 3}, "a word in quotes"),
        ],
    )
    def test_a_value_of_the_wrong_type_in_the_bucket_is_named(self, said, expected):
        """A number in quotes is an easy slip in TOML, and the owner of the file can mend it at once."""
        with pytest.raises(InputError, match=expected):
            presets.resolve(TrainConfig("b"), table(target="gender", **said))


class TestWeights:
    """Where the backbone's first weights come from, and what is said when they cannot be had."""

    def unreachable(self, monkeypatch):
        def refuse(name, home):
            raise OSError("no route to host")

        monkeypatch.setattr(mobilenet, "_download", refuse)

    def test_unreachable_weights_stop_with_what_to_do(self, monkeypatch, tmp_path):
        """A model quietly trained from random weights would be taken for a good one."""
        self.unreachable(monkeypatch)

        with pytest.raises(OutsideError, match=r"no route to host.*--allow-random-weights"):
            mobilenet.find_weights("imagenet", 1.0, 224, keras_home=tmp_path)

    def test_random_weights_are_used_only_when_allowed_and_said(self, monkeypatch, tmp_path):
        """The run, the log and the page show this note."""
        self.unreachable(monkeypatch)

        found = mobilenet.find_weights("imagenet", 1.0, 224, keras_home=tmp_path, allow_random=True)

        assert (found.path, found.wanted) == (None, False)
        assert "random weights, as allowed" in found.note

    def test_a_kept_file_is_used_without_the_network(self, monkeypatch, tmp_path):
        """A machine without internet has the files where Keras keeps them; another size is better than none."""
        self.unreachable(monkeypatch)
        path = tmp_path / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        path.parent.mkdir()
        path.write_bytes(b"")

        assert mobilenet.find_weights("imagenet", 1.0, 128, keras_home=tmp_path).path == path

    @pytest.mark.parametrize(
        ("weights", "alpha", "said"), [("/no/such.h5", 1.0, "no weights file"), ("imagenet", 0.4, "width 0.4")]
    )
    def test_weights_that_cannot_be_are_named(self, weights, alpha, said):
        """Told before anything is begun."""
        with pytest.raises(InputError, match=said):
            mobilenet.find_weights(weights, alpha, 224)


class TestWeighting:
    """How much each image counts."""

    samples = pd.DataFrame({"label": list("aaaabb"), "race": list("xxxyyy")})

    @pytest.mark.parametrize("kind", ["none", "class", "group", "reweighing"])
    def test_the_mean_is_one(self, kind):
        """The learning rate keeps its meaning."""
        assert sample_weights(self.samples, kind, ["race"]).mean() == pytest.approx(1)

    def test_class_gives_each_class_the_same_total(self):
        """Imbalance no longer pays."""
        weights = pd.Series(sample_weights(self.samples, "class", [])).groupby(self.samples["label"]).sum()

        assert weights["a"] == pytest.approx(weights["b"])

    @pytest.mark.parametrize("kind", ["group", "reweighing"])
    def test_not_knowing_is_a_group_of_its_own(self, kind):
        """One empty cell of a label file must not end a training after every image was decoded."""
        samples = self.samples.assign(race=pd.Series([*"xxyy", None, None], dtype="str"))
        named = samples.assign(race=samples["race"].fillna("unknown"))

        np.testing.assert_array_equal(sample_weights(samples, kind, ["race"]), sample_weights(named, kind, ["race"]))

    def test_reweighing_makes_label_and_group_independent(self):
        """After weighting, the share of each label is the same in each group (Kamiran and Calders)."""
        samples = pd.DataFrame({"label": list("aaabab"), "race": list("xxxxyy")})
        weights = sample_weights(samples, "reweighing", ["race"])
        shares = samples.assign(w=weights).pivot_table(index="race", columns="label", values="w", aggfunc="sum")

        shares = shares.div(shares.sum(1), axis=0)
        np.testing.assert_allclose(shares.loc["x"], shares.loc["y"], rtol=1e-6)


def drawn_image(side):
    """A smooth picture, the same at every size."""
    down, across = np.mgrid[0:side, 0:side] / side + 0.5 / side
    waves = [np.sin(3 * across + 5 * down), np.cos(6 * across), np.sin(4 * down)]
    return np.clip(np.stack(waves, -1) * 100 + 128, 0, 255).astype(np.uint8)


class TestAugment:
    """Changed images that follow from the draw alone."""

    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)

    def test_the_same_draw_gives_the_same_batch(self):
        """A resumed run sees what the first would have seen."""
        first, second = (augment.batch(self.images, augment.Recipe(), np.random.default_rng(5)) for _ in range(2))

        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.uint8
        assert first.shape == self.images.shape
        assert (first != self.images).any(axis=(1, 2, 3)).all()

    def test_light_moves_the_mean_and_no_pixel(self):
        """Brighter, darker, with more or less contrast; the picture stays what it is."""
        plain = {"flip": 0, "zoom": 0, "shift": 0, "turn": 0, "cover": 0}
        relit = augment.batch(self.images, augment.Recipe(**plain, light=0.5), np.random.default_rng(2))

        assert np.abs(relit.mean((1, 2, 3)) - self.images.mean((1, 2, 3))).max() > 5
        for image, lit in zip(self.images, relit, strict=True):
            assert np.corrcoef(image.ravel(), lit.ravel())[0, 1] > 0.95

    def test_light_is_contrast_about_the_mean_and_brightness(self):
        """The formula on every pixel in floating point; the mean it turns about may be off by a half."""
        only = augment.Recipe(flip=0, zoom=0, shift=0, turn=0, cover=0, light=0.5)
        relit = augment.batch(self.images, only, np.random.default_rng(2))
        for image, lit, draw in zip(self.images, relit, np.random.default_rng(2).random((6, 10)), strict=True):
            contrast, brightness = 1 + 0.5 * (2 * draw[5] - 1), 255 * 0.25 * (2 * draw[6] - 1)
            wanted = np.clip((image - image.mean()) * contrast + image.mean() + brightness, 0, 255)

            np.testing.assert_allclose(lit, wanted, atol=1)

    def test_flip_only_mirrors_or_leaves(self):
        """Nothing else is changed."""
        many = np.repeat(self.images, 5, axis=0)
        changed = augment.batch(many, augment.FLIP_ONLY, np.random.default_rng(1))

        kinds = {("same" if (c == i).all() else "mirrored" if (c == i[:, ::-1]).all() else "other")
                 for c, i in zip(changed, many, strict=True)}  # fmt: skip
        assert kinds == {"same", "mirrored"}

    def test_a_cut_from_a_larger_copy_shows_the_same(self):
        """Nothing but the sharpness depends on how large the copy is."""
        smooth = [drawn_image(side) for side in (32, 48, 64)]
        first, *others = (augment.batch([image], augment.Recipe(), np.random.default_rng(3), 32)[0] for image in smooth)

        for other in others:
            assert (32, 32, 3) == other.shape
            assert np.abs(first.astype(int) - other.astype(int)).mean() < 2

    def test_cuts_from_larger_copies_are_as_sharp_as_what_is_judged(self):
        """Cut from the model's own size, every image learnt from would be blurred, and none that is judged."""
        fine = Image.fromarray(np.random.default_rng(0).integers(0, 256, (192, 192, 3)).astype(np.uint8))
        judged, larger = (np.asarray(fine.resize((side, side), Image.Resampling.BILINEAR)) for side in (64, 96))
        moved = augment.Recipe(light=0, cover=0)
        blurred, sharp = (
            augment.batch([image] * 32, moved, np.random.default_rng(1), 64)[:, 16:48, 16:48]
            for image in (judged, larger)
        )

        want, lost, kept = (np.abs(np.diff(each.astype(float), axis=-2)).mean() for each in (judged, blurred, sharp))
        assert lost < 0.75 * want
        assert 0.9 * want < kept < 1.3 * want


class TestWatch:
    """Cells watched during training."""

    def test_cells_are_values_and_their_crossing(self):
        """One row per cell, with its count."""
        watch = Watch(pd.DataFrame({"race": list("xxy"), "age": list("112")}), ["race", "age"])

        assert watch.counts == {"race=x": 2, "race=y": 1, "age=1": 2, "age=2": 1, "race=x,age=1": 2, "race=y,age=2": 1}

    def test_a_small_worst_cell_is_not_called_worse(self):
        """Twelve images tell little, and the line says so."""
        watch = Watch(pd.DataFrame({"race": ["x"] * 12 + ["y"] * 100}), ["race"])

        assert "cannot tell" in watch.worst([False] * 5 + [True] * 107)

    def test_a_large_worst_cell_is(self):
        """Sixty images at one half, the rest right: that is supported."""
        watch = Watch(pd.DataFrame({"race": ["x"] * 60 + ["y"] * 600}), ["race"])

        assert "cannot tell" not in watch.worst([False] * 30 + [True] * 630)

    @pytest.mark.parametrize("cells", [2, 8, 20])
    def test_equal_cells_are_hardly_ever_told_apart(self, cells):
        """The lowest of many is low by chance: at most one epoch in twenty may call it worse where all are equal."""
        rng = np.random.default_rng(cells)
        counts = {f"race={i}": 100 for i in range(cells)}
        sure = 0
        for _ in range(1000):
            shares = {cell: rng.binomial(100, 0.8) / 100 for cell in counts}
            sure += "cannot tell" not in worst_cell(shares, counts, float(np.mean(list(shares.values()))))

        assert sure <= 50

    def test_no_rows_is_unknown(self):
        """NaN with its count, never 0."""
        shown = accuracy([])

        assert shown["n"] == 0
        assert np.isnan([shown["value"], shown["low"], shown["high"]]).all()
