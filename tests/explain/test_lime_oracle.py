"""LIME against stock ``lime`` 0.2.0.1, an independent oracle that is only needed here and in the benchmark."""

import contextlib
import io

import numpy as np
import pytest
from planted_models import Pooled, drawn_image

from visrec.explain.lime_image import explain_image
from visrec.explain.masking import fill_image


def stock(image, predict, segments, samples, seed, hide_color=None):
    """What stock LIME says, for every class: weights (k, n), intercept, R2, local prediction, all (k,)."""
    from lime.lime_image import LimeImageExplainer

    classes = predict(image[None].astype(np.float64)).shape[1]
    parts = []
    for label in range(classes):  # its score and local prediction are the last label's: ask for one at a time
        with contextlib.redirect_stderr(io.StringIO()):
            found = LimeImageExplainer(random_state=seed).explain_instance(
                image.astype(np.float64),
                predict,
                labels=(label,),
                top_labels=None,
                hide_color=hide_color,
                num_samples=samples,
                segmentation_fn=lambda _: segments,
            )
        weights = np.zeros(segments.max() + 1)
        for segment, weight in found.local_exp[label]:
            weights[segment] = weight
        parts.append((weights, found.intercept[label], found.score, found.local_pred[0]))
    return [np.array(column) for column in zip(*parts, strict=True)]


CASES = [
    # size, classes, image seed, draw seed, samples, segmenter
    (48, 2, 0, 0, 300, "slic"),
    (48, 3, 1, 7, 301, "quickshift"),
    (40, 5, 2, 123, 257, "felzenszwalb"),
    (64, 3, 3, 2**31 - 1, 64, "slic"),  # fewer samples than superpixels
    (32, 4, 4, 42, 500, np.arange(32 * 32).reshape(32, 32) // 128),
    (33, 2, 5, 1, 10, lambda image: (image[..., 0] > 128).astype(int)),
]


@pytest.mark.parametrize(("size", "classes", "drawn", "seed", "samples", "segmenter"), CASES)
def test_every_number_is_stock_limes(size, classes, drawn, seed, samples, segmenter):
    """Same seed, superpixels and samples: the same weights, intercept, R2 and local prediction for every class."""
    image, predict = drawn_image(size, drawn), Pooled(size, classes, drawn)

    ours = explain_image(image, predict, samples=samples, seed=seed, segmenter=segmenter, dtype=np.float64)
    weights, intercept, r2, local = stock(image, predict, ours.segments, samples, seed)

    np.testing.assert_allclose(ours.weights, weights, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.intercept, intercept, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.r2, r2, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.local_prediction, local, rtol=0, atol=1e-9)


def test_single_precision_models_get_stock_limes_weights_too():
    """A float32 model, as any real one: 1e-5, and the same order wherever weights differ by more than that."""
    image, model = drawn_image(56, 9), Pooled(56, 3, 9)

    def predict(images):
        return model(images.astype(np.float32))

    ours = explain_image(image, predict, samples=800, seed=3)
    weights, *_ = stock(image, predict, ours.segments, 800, 3)

    np.testing.assert_allclose(ours.weights, weights, rtol=0, atol=1e-5)
    for mine, theirs in zip(ours.weights, weights, strict=True):
        heavy = np.abs(theirs) > 1e-3 * np.abs(theirs).max()
        order = np.argsort(-np.abs(theirs[heavy]), kind="stable")
        steps = np.diff(np.abs(mine[heavy][order]))
        assert steps.max() <= 2e-5


def test_grey_fill_is_stock_limes_hide_color():
    """The grey fill is what stock LIME does when it is given a colour to hide with."""
    image, predict = drawn_image(48, 2), Pooled(48, 2, 2)

    ours = explain_image(image, predict, samples=200, seed=5, fill="grey", dtype=np.float64)
    weights, *_ = stock(image, predict, ours.segments, 200, 5, hide_color=127.5)

    np.testing.assert_allclose(ours.weights, weights, rtol=0, atol=1e-9)


def test_batches_do_not_matter():
    """The batch size is the engine's business: weights stay the same to the last bit for a model that does not mind."""
    image, predict = drawn_image(48, 1), Pooled(48, 3, 1)

    few, many = (explain_image(image, predict, samples=97, batch_size=b, dtype=np.float64).weights for b in (1, 64))

    np.testing.assert_allclose(few, many, rtol=0, atol=1e-12)


def test_stopping_early_equals_asking_for_fewer_samples():
    """Adaptive sampling ends where the heavy superpixels have settled, and is then stock LIME at that number."""
    image, predict = drawn_image(48, 1), Pooled(48, 3, 1, grid=2)

    early = explain_image(image, predict, samples=5000, adaptive=True, dtype=np.float64)
    weights, *_ = stock(image, predict, early.segments, early.samples, 0)

    assert early.samples < 5000
    np.testing.assert_allclose(early.weights, weights, rtol=0, atol=1e-9)


def test_mean_fill_is_not_rounded():
    """Stock LIME on a uint8 image truncates its mean colours, which moves the weights; ours are exact."""
    image = drawn_image(16, 0)
    segments = np.arange(256).reshape(16, 16) // 37

    fill = fill_image(image, segments)

    for s in range(segments.max() + 1):
        np.testing.assert_allclose(
            fill[segments == s], np.tile(image[segments == s].mean(axis=0), (sum(segments.ravel() == s), 1))
        )
