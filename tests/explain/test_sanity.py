"""Randomised twins: the same architecture, nothing of what was learnt, and the map changes with them."""

import numpy as np
import pytest
from planted_models import constant, drawn_image, left_detail

from visrec.errors import InputError
from visrec.explain.badge import DO_NOT_USE, NONE, SOLID, judge
from visrec.explain.document import to_document
from visrec.explain.lime_image import explain_image
from visrec.explain.sanity import KINDS, Sanity, check_sanity, map_changes, randomised, with_sanity


@pytest.fixture(scope="module")
def model():
    """A small network with every kind of layer that MobileNetV2 has, one part nested."""
    import keras

    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(6, 3, use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    inner = keras.Model(inputs, layers.DepthwiseConv2D(3)(x), name="inner")
    outer = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(inner(outer))
    return keras.Model(outer, layers.Dense(2, activation="softmax")(layers.Dropout(0.2)(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_has_other_weights_and_the_model_keeps_its_own(model, kind):
    """Kernels are all different, the original is untouched, the same seed gives the same twin."""
    before = [np.array(w) for w in model.get_weights()]
    images = np.stack([drawn_image(32, i) for i in range(4)])

    twin, again, other = (randomised(model, kind, seed, images) for seed in (0, 0, 1))

    for w, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, kept)
    kernels = [i for i, w in enumerate(before) if w.ndim > 1]
    assert all(not np.allclose(before[i], twin.get_weights()[i]) for i in kernels)
    for a, b in zip(twin.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(twin.get_weights()[0], other.get_weights()[0])
    assert np.isfinite(twin(images.astype(np.float32))).all()


def test_shuffled_weights_are_the_same_numbers(model):
    """The distribution stays, the order goes."""
    twin = randomised(model, "shuffled", 0)

    for w, t in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(np.sort(w.ravel()), np.sort(t.ravel()))


def test_the_map_changes_when_the_model_does():
    """A twin that looks elsewhere gives another map, the model itself the same one."""
    image = drawn_image(64, 3)
    explained = explain_image(image, left_detail, samples=800)

    same = map_changes(image, explained, left_detail)
    mirrored = map_changes(image, explained, lambda x: left_detail(x[:, :, ::-1]))

    assert 1.0 == pytest.approx(same)
    assert mirrored < 0.5
    assert np.isnan(map_changes(image, explained, constant))


def test_the_check_says_in_words_what_follows():
    """Another model's map passes, the same map does not, and a twin that never moves has nothing to compare."""
    image = drawn_image(32, 1)
    explained = explain_image(image, left_detail, samples=200)

    other = check_sanity(image, explained, lambda x: left_detail(x[:, :, ::-1]))
    same = check_sanity(image, explained, left_detail)
    still = check_sanity(image, explained, constant)

    assert (True, False, True) == (other.passed, same.passed, still.passed)
    assert "Do not use it" in same.sentence
    assert np.isnan(still.correlation)


def test_a_failed_check_forbids_use_however_good_the_badge_looks():
    """The verdict and the sentence below it never contradict each other, in the document neither."""
    image = drawn_image(64, 3)
    explained = explain_image(image, left_detail, samples=1000)
    badge = judge(image, left_detail, explained)
    failed, passed = Sanity(0.9, False, "It stays."), Sanity(0.1, True, "It changes.")

    assert SOLID == badge.verdict == with_sanity(badge, passed).verdict == with_sanity(badge, None).verdict
    told = with_sanity(badge, failed)
    assert DO_NOT_USE == told.verdict
    assert "shows the image, not what the model learnt (rank correlation 0.90" in told.reasons[0]
    assert DO_NOT_USE == to_document(explained, ["flat", "lively"], badge, failed)["badge"]["verdict"]


def test_where_there_is_no_explanation_the_check_changes_nothing():
    """Nothing to explain stays nothing to explain."""
    image = drawn_image(32, 1)
    badge = judge(image, constant, explain_image(image, constant, samples=60))

    assert NONE == with_sanity(badge, Sanity(0.9, False, "It stays.")).verdict


def test_the_check_tells_how_far_it_is():
    """So that a page can move a bar, and be stopped by it."""
    image, told = drawn_image(32, 1), []
    explained = explain_image(image, left_detail, samples=200)

    check_sanity(image, explained, constant, progress=lambda done, total: told.append((done, total)))

    assert (200, 200) == told[-1]


def test_a_twin_leaves_the_device_to_a_training(monkeypatch, model, tmp_path):
    """While one trains, network and engine stay on the CPU, on a machine with a GPU too."""
    from visrec.explain.sanity import twin_predictor
    from visrec.model import engine, predict

    asked = []
    monkeypatch.setattr(engine, "gpus", lambda: ["GPU"])
    monkeypatch.setattr(predict, "load_keras", lambda path, cpu_only=False: asked.append(cpu_only) or model)
    monkeypatch.setattr(engine, "for_model", lambda model, scratch, engine=None: engine)

    assert engine.KERAS == twin_predictor(tmp_path)
    assert engine.KERAS != twin_predictor(tmp_path, device_busy=True)
    assert [False, True] == asked


def test_wrong_kinds_are_told(model):
    """What came, what there is."""
    with pytest.raises(InputError, match=r"no randomisation 'redrwan'\. Did you mean 'redrawn'"):
        randomised(model, "redrwan")
    with pytest.raises(InputError, match="needs images"):
        randomised(model, "settled")
