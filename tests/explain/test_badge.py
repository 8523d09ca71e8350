"""The badge on planted models: right where the truth is known, and careful where it is not."""

import numpy as np
import pytest
from planted_models import Pooled, constant, drawn_image, left_detail, left_half

from visrec.errors import RunError
from visrec.explain.badge import (
    DO_NOT_USE,
    LIMITS,
    NONE,
    SHAKY,
    SOLID,
    deletion_insertion,
    judge,
    pronounce,
    stability,
)
from visrec.explain.lime_image import explain_image


def explained(predict, image=None, **options):
    """An explanation and its badge."""
    image = drawn_image(64, 3) if image is None else image
    found = explain_image(image, predict, **{"samples": 1000} | options)
    return found, judge(image, predict, found)


@pytest.mark.parametrize("size", [64, 96])
def test_a_model_of_the_left_half_is_solid(size):
    """A simple, decided model is what LIME can explain; and its weight lies on the left."""
    found, badge = explained(left_detail, drawn_image(size, 3))

    assert (SOLID, ()) == (badge.verdict, badge.reasons)
    touches = np.array([np.nonzero(found.segments == s)[1].min() < size // 2 for s in range(found.n_segments)])
    assert np.abs(found.weights[1][touches]).sum() > 0.9 * np.abs(found.weights[1]).sum()


def test_a_fill_that_moves_nothing_is_said_to():
    """Mean colours keep a model of brightness blind to what is hidden: the badge says so and what to try."""
    _, badge = explained(left_half)

    assert SOLID != badge.verdict
    assert "another fill may tell more" in " ".join(badge.reasons)


def test_a_constant_model_has_no_explanation():
    """The answer never moves: neither solid nor shaky, there is nothing."""
    _, badge = explained(constant)

    assert NONE == badge.verdict
    assert np.isnan(badge.r2)
    assert 0 == badge.effect


def test_a_model_that_rolls_dice_is_not_to_be_used():
    """Answers that hang on the pixels but on no superpixel in particular: pure noise to LIME."""

    def dice(images):
        p = np.array([np.random.default_rng(abs(int(x.sum() * 1000))).random() for x in images])
        return np.stack([1 - p, p], axis=1)

    _, badge = explained(dice)

    assert DO_NOT_USE == badge.verdict
    assert badge.reasons


def test_a_model_that_hardly_moves_is_not_solid():
    """A perfect linear model of a probability that goes from 0.500 to 0.505 explains next to nothing."""

    def faint(images):
        p = 0.5 + 0.01 * images[:, :, :32].mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - p, p], axis=1)

    found, badge = explained(faint)

    assert found.r2[1] > 0.95
    assert SOLID != badge.verdict
    assert "hardly moves" in badge.reasons[0]


def test_too_few_samples_are_seen():
    """With two samples per superpixel another seed tells another story."""
    image = drawn_image(96, 1)
    _, few = explained(Pooled(96, 2, 1, grid=12, strength=3), image, samples=150)
    _, many = explained(Pooled(96, 2, 1, grid=12, strength=3), image, samples=3000)

    assert few.stability < many.stability
    assert SOLID != few.verdict


def test_curves_run_from_the_whole_image_to_none_of_it():
    """Deletion begins where insertion ends, and the other way round."""
    image = drawn_image(48)
    predict = Pooled(48, 2)
    found = explain_image(image, predict, samples=300)

    drawn = deletion_insertion(image, predict, found, found.label).drawn

    assert drawn["deletion"][0] == pytest.approx(found.prediction[found.label])
    assert drawn["deletion"][0] == drawn["insertion"][-1]
    assert drawn["deletion"][-1] == drawn["insertion"][0]
    assert (0.0, 1.0) == (drawn["share"][0], drawn["share"][-1])
    assert np.mean(drawn["deletion"]) < np.mean(drawn["random"]) < np.mean(drawn["insertion"])


def test_a_reversed_explanation_loses_to_random():
    """An order that hides the opposing superpixels first is worse than chance: the measure is not blind."""
    image = drawn_image(64, 3)
    found = explain_image(image, left_half, samples=600)
    turned = type(found)(**{**vars(found), "weights": -found.weights})

    curves = deletion_insertion(image, left_half, turned, 1)

    assert curves.deletion_beats < 0.1
    assert curves.insertion_beats < 0.1


def test_the_badge_is_reproducible():
    """Same explanation, same badge, to the last digit."""
    image = drawn_image(48)
    found = explain_image(image, Pooled(48, 2), samples=200)
    first, again = (judge(image, Pooled(48, 2), found).to_json() | {"seconds": 0} for _ in range(2))

    assert first == again


def test_judging_can_be_stopped():
    """As every long work."""
    image = drawn_image(48)
    found = explain_image(image, left_half, samples=100)

    with pytest.raises(RunError, match="cancelled"):
        judge(image, left_half, found, stop=lambda: True)


def test_an_unknown_measure_forbids_use():
    """NaN is never taken for good."""
    good = {"r2": 0.99, "stability": 1.0, "deletion": 1.0, "insertion": 1.0, "agreement": 1.0, "effect": 0.9}

    assert SOLID == pronounce(good)[0]
    assert SHAKY == pronounce(good | {"r2": sum(LIMITS.r2) / 2})[0]
    assert DO_NOT_USE == pronounce(good | {"agreement": float("nan")})[0]


def test_one_seed_alone_has_no_stability():
    """Nothing to compare with: unknown, not perfect."""
    assert np.isnan(stability([np.ones(5)]))


def test_judging_tells_of_every_part_of_the_work_and_ends_where_it_said():
    """Seeds, curves and occlusion: one bar that never goes back, so that whoever draws it can end any of them."""
    image, told = drawn_image(48), []
    found = explain_image(image, left_detail, samples=100)

    judge(image, left_detail, found, progress=lambda done, total: told.append((done, total)))

    done, total = np.array(told).T
    assert (np.diff(done) >= 0).all()
    assert {done[-1]} == set(total)
    assert len({d for d in done if 200 < d < total[0] - found.n_segments}) >= 2, "the curves are silent"
    assert done[-1] > done[done <= total[0] - found.n_segments].max(), "occlusion is silent"
