"""What an explanation says of planted models, and how the work behaves while it runs."""

import dataclasses

import numpy as np
import pytest
from planted_models import Pooled, constant, drawn_image, left_half

from visrec.errors import InputError, RunError
from visrec.explain.lime_image import explain_image
from visrec.explain.masking import FILLS, Masker
from visrec.explain.segments import METHODS, segment


@pytest.mark.parametrize("segmenter", METHODS)
@pytest.mark.parametrize("fill", FILLS)
def test_a_model_of_the_left_half_gets_its_weight_on_the_left(segmenter, fill):
    """One contract over all segmenters and fills: weight lies where the model looks."""
    image = drawn_image(64, 3)

    found = explain_image(image, left_half, samples=600, segmenter=segmenter, fill=fill)

    touches = np.array([np.nonzero(found.segments == s)[1].min() < 32 for s in range(found.n_segments)])
    weight = np.abs(found.weights[1])
    assert not touches.all()
    assert weight[touches].sum() > 0.95 * weight.sum()
    assert found.r2[1] > 0.8


def test_a_constant_model_has_no_r2():
    """Nothing changed, so nothing was explained: R2 is unknown, not 1 and not 0."""
    found = explain_image(drawn_image(32), constant, samples=50)

    assert np.isnan(found.r2).all()
    np.testing.assert_allclose(found.weights, 0, atol=1e-12)


def test_opposite_classes_mirror_each_other():
    """With two classes the weights of one are the other's with the sign turned."""
    found = explain_image(drawn_image(48), Pooled(48, 2), samples=200)

    np.testing.assert_allclose(found.weights[0], -found.weights[1], atol=1e-6)


def test_all_classes_come_with_their_own_r2():
    """Stock LIME keeps the last label's score only."""
    found = explain_image(drawn_image(48), Pooled(48, 4), samples=300)

    assert (4,) == found.r2.shape
    assert len(np.unique(found.r2)) == 4
    assert (0, 1, 2, 3) == found.labels
    assert found.label == found.prediction.argmax()


def test_the_same_seed_gives_the_same_bytes():
    """Reproducible to the last bit; another seed is another draw."""
    image, predict = drawn_image(48), Pooled(48, 3)
    first, again, other = (explain_image(image, predict, samples=200, seed=s).weights for s in (4, 4, 5))

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_global_random_state_is_left_alone():
    """Explaining draws from its own generator."""
    np.random.seed(1)
    expected = np.random.rand()
    np.random.seed(1)

    explain_image(drawn_image(32), constant, samples=20)

    assert expected == np.random.rand()


def test_sample_count_follows_the_superpixels_when_asked():
    """None means ten per superpixel and never fewer than a thousand."""
    fine = np.arange(32 * 32).reshape(32, 32) // 6

    assert 1000 == explain_image(drawn_image(32), constant).samples
    assert 1710 == explain_image(drawn_image(32), constant, samples=None, segmenter=fine).samples
    assert explain_image(drawn_image(32), constant, samples=100, segmenter=fine).too_few_samples


def test_progress_is_told_to_the_end_and_nothing_is_printed(capfd):
    """A page draws its own bar; stock LIME's tqdm on standard error is gone."""
    told = []

    explain_image(drawn_image(32), constant, samples=250, batch_size=1, progress=lambda *at: told.append(at))

    assert (250, 250) == told[-1]
    assert len(told) <= 101
    assert ("", "") == capfd.readouterr()


def test_it_stops_at_the_next_batch_when_told():
    """A click on Cancel costs one batch, not one explanation."""
    calls = []

    def predict(images):
        calls.append(len(images))
        return constant(images)

    with pytest.raises(RunError, match="cancelled"):
        explain_image(drawn_image(32), predict, samples=1000, batch_size=10, stop=lambda: len(calls) >= 3)

    assert [10, 10, 10] == calls


def test_the_batch_the_engine_likes_is_used():
    """An engine that is fastest one image at a time says so by its attribute."""
    sizes = []

    class Engine:
        batch_size = 7

        def __call__(self, images):
            sizes.append(len(images))
            return constant(images)

    explain_image(drawn_image(32), Engine(), samples=20)

    assert [7, 7, 6] == sizes


def test_a_lone_sigmoid_is_two_classes():
    """A one-column answer p means [1 - p, p]; stock LIME fails with a KeyError."""
    found = explain_image(drawn_image(32), lambda images: left_half(images)[:, 1:], samples=50)

    assert 2 == len(found.prediction)
    np.testing.assert_allclose(found.prediction.sum(), 1)


def test_explanations_are_frozen():
    """A page may share one between visitors."""
    found = explain_image(drawn_image(32), constant, samples=20)

    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seed = 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((32, 32), np.uint8)}, r"uint8 \(32, 32\), expected uint8 \(height, width, 3\)"),
        ({"image": np.zeros((32, 32, 3), np.float32)}, r"float32 \(32, 32, 3\), expected uint8"),
        ({"segmenter": "slick"}, "Did you mean 'slic'"),
        ({"segmenter": np.zeros((3, 3), int)}, r"shape \(3, 3\), expected one label per pixel \(32, 32\)"),
        ({"fill": "black"}, "There is no fill 'black'"),
        ({"samples": 1}, "asked for 1 samples, expected at least 2"),
        ({"label": 2}, "Class number 2 was asked for, expected 0 to 1"),
        ({"label": 7, "adaptive": True, "samples": 2000}, "Class number 7 was asked for, expected 0 to 1"),
        ({"predict": lambda images: np.zeros((1, 2, 3))}, r"shape \(1, 2, 3\) for"),
        ({"predict": lambda images: np.full((len(images), 2), np.nan)}, "NaN or infinity"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(change, words):
    """What came, what was expected."""
    given = {"image": drawn_image(32), "predict": constant, "samples": 20} | change

    with pytest.raises(InputError, match=words):
        explain_image(given.pop("image"), given.pop("predict"), **given)


def test_composed_pixels_are_exactly_the_image_or_the_fill():
    """Bit operations move whole floats: no rounding anywhere, for any mask."""
    random = np.random.default_rng(0)
    segments = random.integers(0, 5, (6, 7))
    image, fill = random.uniform(0, 255, (2, 6, 7, 3)).astype(np.float32)
    switches = random.integers(0, 2, (9, 5))

    found = Masker(image, fill, segments).compose(switches)

    expected = np.where(switches[:, segments][..., None] == 1, image, fill)
    assert expected.tobytes() == found.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_superpixels_are_numbered_from_zero_without_gaps(method):
    """LIME's column i is superpixel i; a gap or a start at 1 would leave one unexplained."""
    labels = segment(drawn_image(56, 5), method)

    assert np.arange(labels.max() + 1).tolist() == np.unique(labels).tolist()
    assert 3 < labels.max() <= 120
