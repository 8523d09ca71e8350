"""The overlay shows weights and leaves the image visible."""

import time
from dataclasses import replace

import numpy as np
import pytest
from planted_models import drawn_image

from visrec.errors import InputError
from visrec.explain.lime_image import Explanation
from visrec.explain.overlay import (
    OPPOSES,
    SUPPORTS,
    SUPPORTS_LINE,
    chosen,
    heat_scale,
    render_overlay,
    render_scale,
    tint,
)


def quarters(size: int = 64, weights=(0.4, -0.2, 0.1, 0.0)) -> Explanation:
    """Four square superpixels, read by rows, with known weights of class 1."""
    segments = np.arange(4).reshape(2, 2).repeat(size // 2, 0).repeat(size // 2, 1).astype(np.int32)
    weights = np.array([-np.array(weights), weights])
    k = np.zeros(2)
    return Explanation(segments, weights, k, k, k, np.array([0.2, 0.8]), label=1, samples=10, seed=0)


GREY = np.full((64, 64, 3), 128, np.uint8)


def colour_at(image, quarter):
    """The colour in the middle of a quarter."""
    y, x = divmod(quarter, 2)
    return image[16 + 32 * y, 16 + 32 * x].astype(int)


def test_supporting_is_blue_and_opposing_is_orange():
    """Weights +, -, +, 0 read by rows: blue, orange, blue, untouched."""
    shown = render_overlay(GREY, quarters(), opacity=0.8)

    red_minus_blue = [colour_at(shown, q)[0] - colour_at(shown, q)[2] for q in range(4)]
    assert [-1, 1, -1, 0] == np.sign(red_minus_blue).tolist()


def test_the_other_class_turns_the_colours():
    """Every class is in the explanation: switching costs nothing."""
    shown = render_overlay(GREY, quarters(), 0, opacity=0.8)

    assert colour_at(shown, 0)[0] > colour_at(shown, 0)[2]


@pytest.mark.parametrize(("show", "touched"), [("supports", [0, 2]), ("opposes", [1]), ("both", [0, 1, 2])])
def test_show_chooses_the_sign(show, touched):
    """Only superpixels of the wanted sign are painted."""
    shown = render_overlay(GREY, quarters(), show=show)

    assert touched == [q for q in range(4) if (colour_at(shown, q) != 128).any()]


@pytest.mark.parametrize("top", range(4))
def test_top_counts_the_heaviest(top):
    """The slider adds superpixels in the order of their weight, never one of weight 0."""
    shown = render_overlay(GREY, quarters(), top=top)

    assert top == sum((colour_at(shown, q) != 128).any() for q in range(4))


def test_nothing_chosen_leaves_every_pixel():
    """top=0 is the image itself, and a new array."""
    image = drawn_image(64)

    shown = render_overlay(image, quarters(), top=0)

    np.testing.assert_array_equal(image, shown)
    assert not np.shares_memory(image, shown)


@pytest.mark.parametrize("style", ["outline", "heat"])
def test_weights_that_are_rounding_paint_nothing(style):
    """R2 is unknown where the answer never changed; the weights are then of the order of 1e-9."""
    explained = replace(quarters(weights=(3e-9, -1e-9, 2e-9, 0.0)), r2=np.array([np.nan, np.nan]))

    np.testing.assert_array_equal(GREY, render_overlay(GREY, explained, style=style))


def test_opacity_zero_is_outlines_alone():
    """Inside the outline the image is untouched, and the outline is there."""
    image = drawn_image(64)

    shown = render_overlay(image, quarters(), opacity=0)

    np.testing.assert_array_equal(image[5:27, 5:27], shown[5:27, 5:27])
    np.testing.assert_array_equal(SUPPORTS_LINE, shown[0, 10])


def test_the_image_stays_visible_at_full_opacity():
    """Light and dark under the tint still correlate with the image's; the tutorial painted it white."""
    image = drawn_image(64)

    shown = render_overlay(image, quarters(), opacity=1)

    inside = (slice(5, 27), slice(5, 27))
    light = [x[inside].astype(float) @ [0.299, 0.587, 0.114] for x in (image, shown)]
    assert np.corrcoef(light[0].ravel(), light[1].ravel())[0, 1] > 0.95


def test_heat_shades_by_weight():
    """The heat style's strength is the weight on a scale from minus to plus the heaviest."""
    shown = render_overlay(GREY, quarters(), style="heat", opacity=1)

    strength = [np.abs(colour_at(shown, q) - 128).sum() for q in range(4)]
    assert strength[0] > strength[1] > strength[2] > strength[3] == 0
    assert 0.4 == heat_scale(quarters())


def test_the_scale_has_the_colours_of_the_heat_map():
    """Left end opposes, middle is neutral, right end supports, as on the map."""
    scale = render_scale(257, 4).astype(int)
    shown = render_overlay(GREY, quarters(), style="heat", opacity=1)

    np.testing.assert_array_equal(scale[0, -1], colour_at(shown, 0))
    np.testing.assert_array_equal(scale[0, 128], [128] * 3)
    assert scale[0, 0, 0] > scale[0, 0, 2]


def test_a_larger_image_carries_the_same_map():
    """The model sees 64 pixels, the visitor's photo has more: superpixels are stretched over it."""
    large = np.full((128, 192, 3), 128, np.uint8)

    shown = render_overlay(large, quarters(), opacity=0.8)

    assert large.shape == shown.shape
    assert shown[32, 48, 2] > 128 > shown[32, 48, 0]
    assert (shown[96, 144] == 128).all()


def test_hues_stay_apart_for_the_colour_blind():
    """Simulated protanopia, deuteranopia and tritanopia (Machado 2009, full severity) keep the tints apart."""
    views = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    pair = np.array([SUPPORTS, OPPOSES]) / 255
    linear = np.where(pair <= 0.04045, pair / 12.92, ((pair + 0.055) / 1.055) ** 2.4)

    for matrix in views.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        assert np.linalg.norm(np.sqrt(seen[0]) - np.sqrt(seen[1])) > 0.5


def test_it_is_fast_enough_for_a_slider():
    """Well under 50 ms at 224 pixels, so that a slider answers at once."""
    image, explained = drawn_image(224), quarters(224)
    best = min(_timed(render_overlay, image, explained) for _ in range(5))

    assert best < 0.05


def _timed(function, *args) -> float:
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"show": "all"}, "show='all' is unknown"),
        ({"style": "white"}, "style='white' is unknown"),
        ({"opacity": 1.5}, "opacity=1.5, expected a number from 0 to 1"),
        ({"label": 9}, "Class number 9 is not explained, expected 0 to 1"),
    ],
)
def test_wrong_options_are_told(options, words):
    """What came, what was expected."""
    with pytest.raises(InputError, match=words):
        render_overlay(GREY, quarters(), **options)


def test_equal_weights_are_ranked_by_number():
    """So that the same image and seed give a byte-identical overlay."""
    assert [0, 1, 2] == chosen(np.array([0.5, -0.5, 0.5, 0.1]), 3).tolist()


def test_tint_of_strength_zero_changes_nothing():
    """Rounding must not touch the rest of the image."""
    image = drawn_image(32)

    np.testing.assert_array_equal(image, tint(image, np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.float32)))
