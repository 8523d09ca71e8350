"""The group atlas: where a model looks, on average, for one group and for another, and how well that can be told.

Every image is explained by LIME on the same grid of squares, so that maps of aligned images can be averaged place by
place. Each map holds the weights for the predicted class. Cells are compared by permutation, `visrec.explain.compare`.
"""

import io
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from visrec.errors import InputError, NotFoundError, nearest
from visrec.explain.alignment import Alignment, measure_alignment
from visrec.explain.badge import stability
from visrec.explain.compare import Comparison, Difference, compare_groups
from visrec.explain.lime_image import Predict, Progress, Stop, ask
from visrec.explain.masking import Masker, fill_image
from visrec.explain.surrogate import draw_switches, fit_surrogate

if TYPE_CHECKING:
    from visrec.runs.record import Run

GRID = 8
LEAST = 10
"""Images below which a cell is not compared, and a mean of it is unknown."""
KINDS = ("all", "outcome", "prediction")
"""Ways of taking answers apart before averaging: not at all, right and wrong, each predicted class."""
FIXED = {"file", "split", "label", "prediction", "row", "sha256", "width", "height", "status"}
"""Columns of a predictions table that are no attribute."""
PREFIX = "explanations/atlas-by-"


@dataclass(frozen=True)
class Atlas:
    """Maps of a sample of images, their quality by cell, and the comparison of the cells.

    Attributes
    ----------
    by : attributes whose crossing makes the cells
    samples : one row per image: file, label, prediction, the attributes, ``cell``, r2, stability
    maps : float32 (n, grid, grid), weight of each square for the predicted class
    mean_image : uint8 (s, s, 3), mean of the images: what to lay the maps over
    alignment : whether averaging means anything
    comparison : each cell against the rest
    settings : split, grid, samples, seed, fill, per_cell
    seconds : wall time
    images_left_out : how many images had ``no_value`` of an attribute or were ``unreadable``; empty = not counted
    """

    by: tuple[str, ...]
    samples: pd.DataFrame
    maps: np.ndarray
    mean_image: np.ndarray
    alignment: Alignment
    comparison: Comparison
    settings: dict[str, Any]
    seconds: float
    images_left_out: dict[str, int] = field(default_factory=dict)

    def quality(self) -> pd.DataFrame:
        """Mean R2 and stability of each cell, with 95 % intervals.

        ``r2_known`` and ``stability_known`` say whether the figure may be shown: at least `LEAST` images have one, and
        there is an interval.
        """
        rows = []
        for cell, part in self.samples.groupby("cell", sort=True):
            row: dict[str, Any] = {"cell": cell, "n": len(part)}
            for name in ("r2", "stability"):
                mean, low, high = mean_interval(part[name])
                known = bool(part[name].notna().sum() >= LEAST and not np.isnan(low))
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_known": known}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without the single maps."""
        grid = self.maps.shape[1:]
        return {
            "by": list(self.by),
            **self.settings,
            "images": len(self.samples),
            "images_left_out": self.images_left_out,
            "alignment": asdict(self.alignment),
            "cells": self.quality().to_dict("records"),
            "mean_maps": {
                how: [{**row, "map": row["map"].tolist() if row["n"] else None} for row in found.to_dict("records")]
                for how, found in ((how, mean_maps(self, how)) for how in KINDS)
            },
            "p": self.comparison.p,
            "permutations": self.comparison.permutations,
            "left_out": self.comparison.left_out,
            "differences": [
                {
                    "cell": d.group, "n": d.n, "n_rest": d.n_rest, "lit_share": float(d.lit.mean()),
                    "value": d.value.reshape(grid).tolist(), "p": d.p.reshape(grid).tolist(),
                    "significant": d.significant.reshape(grid).tolist(), "lit": d.lit.reshape(grid).tolist(),
                }
                for d in self.comparison.differences
            ],
            "seconds": self.seconds,
        }  # fmt: skip


def mean_maps(atlas: Atlas, how: str = "all") -> pd.DataFrame:
    """Mean map of every cell and kind of answer.

    Parameters
    ----------
    how : one of `KINDS`

    Returns
    -------
    DataFrame
        cell, kind, n, known (at least `LEAST` images), map (float64 (grid, grid), NaN without images).
    """
    kinds = _kinds(atlas.samples, how)
    rows = []
    for cell in sorted(atlas.samples["cell"].unique()):
        for kind in ("right", "wrong") if how == "outcome" else sorted(set(kinds)):
            chosen = (atlas.samples["cell"] == cell).to_numpy() & (kinds == kind)
            count = int(chosen.sum())
            mean = atlas.maps[chosen].mean(axis=0) if count else np.full(atlas.maps.shape[1:], np.nan)
            rows.append(
                {"cell": cell, "kind": kind, "n": count, "known": count >= LEAST, "map": mean.astype(np.float64)}
            )
    return pd.DataFrame(rows)


def _kinds(samples: pd.DataFrame, how: str) -> np.ndarray:
    """Which kind of answer each image had: str (n,)."""
    if how == "outcome":
        return np.where(samples["label"].astype(str) == samples["prediction"].astype(str), "right", "wrong")
    if how == "prediction":
        return ("answered " + samples["prediction"].astype(str)).to_numpy()
    return np.full(len(samples), "all")


def say_left_out(left_out: dict[str, int]) -> str:
    """In words, how many images an atlas has left out and why; empty when it was none.

    >>> say_left_out({"no_value": 3, "unreadable": 1})
    'Left out: 3 images of the split without a value, so of no group; 1 image that could not be read.'
    """
    words = {"no_value": "of the split without a value, so of no group", "unreadable": "that could not be read"}
    parts = [f"{n:,} image{'s' * (n != 1)} {words[why]}" for why, n in left_out.items() if n]
    return f"Left out: {'; '.join(parts)}." if parts else ""


def make_atlas(
    images: np.ndarray,
    samples: pd.DataFrame,
    predict: Predict,
    by: list[str],
    *,
    classes: list[str],
    grid: int = GRID,
    draws: int | None = None,
    fill: str = "mean",
    seed: int = 0,
    permutations: int | None = None,
    least: int = LEAST,
    progress: Progress | None = None,
    comparing: Progress | None = None,
    stop: Stop | None = None,
) -> Atlas:
    """Explain images on one grid and compare the cells.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    samples : table of n rows: file, label, and the columns named in ``by``
    predict : the model
    by : attributes; their crossing makes the cells
    classes : class names, in the order of the model's outputs
    grid : squares along each side
    draws : maskings per image and seed, of which there are two; None = ten per square
    permutations : relabellings of the comparison; None = enough for a single square to be found
    least : comparable images that a cell needs
    progress : called with (images explained, images in all)
    comparing : called with (relabellings done, relabellings in all); first with none of them done

    Returns
    -------
    Atlas

    Raises
    ------
    InputError
        An attribute is missing or the two inputs do not fit.
    """
    _check(images, samples, by)
    started = time.perf_counter()
    squares = grid_segments(images.shape[1], images.shape[2], grid)
    draws = draws or 10 * grid * grid
    found = []
    for i, image in enumerate(images):
        # draws of its own for each image: shared ones would carry a strong square's error to the same place in all maps
        own = seed + 2 * i
        found.append(explain_on_grid(image, predict, squares, draws=draws, fill=fill, seed=own, stop=stop))
        if progress is not None:
            progress(i + 1, len(images))
    table = samples.reset_index(drop=True).assign(
        prediction=[classes[f.label] for f in found],
        cell=[" · ".join(map(str, row)) for row in samples[by].to_numpy()],
        r2=[f.r2 for f in found],
        stability=[f.stability for f in found],
    )
    maps = np.stack([f.weights for f in found]).astype(np.float32)
    strata = (table["label"].astype(str) + "\0" + table["prediction"]).to_numpy()
    if comparing is not None:
        comparing(0, 1)
    comparison = compare_groups(
        maps, table["cell"].to_numpy(), strata, permutations=permutations, least=least, seed=seed,
        progress=comparing, stop=stop,
    )  # fmt: skip
    return Atlas(
        tuple(by), table, maps.reshape(len(maps), grid, grid), np.rint(images.mean(axis=0)).astype(np.uint8),
        measure_alignment(images), comparison,
        {"grid": grid, "samples": 2 * draws, "seed": seed, "fill": fill}, time.perf_counter() - started,
    )  # fmt: skip


@dataclass(frozen=True)
class GridExplanation:
    """LIME on a grid, twice: weights float64 (squares,) of both seeds together, R2 of the first, their agreement."""

    weights: np.ndarray
    label: int
    r2: float
    stability: float


def explain_on_grid(
    image: np.ndarray, predict: Predict, squares: np.ndarray, *, draws: int, fill: str, seed: int, stop: Stop | None
) -> GridExplanation:
    """Explain one image for its predicted class.

    Two seeds of stock LIME's draws, each fitted alone for R2 and stability, and both together for the map.
    """
    masker = Masker(image, fill_image(image, squares, fill), squares)
    count = int(squares.max()) + 1
    switches = np.concatenate([draw_switches(draws, count, s) for s in (seed, seed + 1)])
    answers = ask(masker, switches, predict, stop=stop)
    label = int(answers[0].argmax())
    one, two, both = (fit_surrogate(switches[part], answers[part][:, [label]]) for part in _halves(draws))
    if np.isnan(both.r2[0]):
        return GridExplanation(both.weights[0], label, float("nan"), float("nan"))
    return GridExplanation(both.weights[0], label, float(one.r2[0]), stability([one.weights[0], two.weights[0]]))


def grid_segments(height: int, width: int, grid: int) -> np.ndarray:
    """A grid of squares as a superpixel map, numbered by rows: int32 (height, width).

    >>> grid_segments(4, 4, 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    if not 2 <= grid <= min(height, width) // 2:
        raise InputError(f"A grid of {grid} squares a side was asked for, expected 2 to {min(height, width) // 2}.")
    rows, columns = (np.arange(n) * grid // n for n in (height, width))
    return (rows[:, None] * grid + columns[None, :]).astype(np.int32)


def pick_rows(
    predictions: pd.DataFrame, by: list[str], *, split: str, per_cell: int = 60, seed: int = 0
) -> pd.DataFrame:
    """A seeded sample with at most ``per_cell`` images of each cell, so that large groups cost no more than small."""
    attributes = [c for c in predictions.columns if c not in FIXED and not str(c).startswith("score:")]
    for name in by:
        if name not in attributes:
            raise InputError(f"The predictions have no attribute '{name}'. {nearest(name, attributes)}")
    rows = predictions[predictions["split"] == split]
    if rows.empty:
        known = ", ".join(sorted(predictions["split"].astype(str).unique()))
        raise InputError(f"No image has split '{split}'. There are: {known}.")
    random = np.random.default_rng(seed)
    shuffled = rows.iloc[random.permutation(len(rows))]
    return shuffled.groupby(by, sort=True, observed=True, dropna=True).head(per_cell).sort_index()


def mean_interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean with a 95 % t-interval cut to [0, 1]; unknown values are left out.

    The interval is NaN where fewer than two values remain, or all are equal: it would claim certainty.
    """
    from scipy.stats import t

    known = values.dropna().to_numpy(np.float64)
    if len(known) < 2 or np.ptp(known) == 0:
        return (float(known.mean()) if len(known) else float("nan")), float("nan"), float("nan")
    half = t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    mean = known.mean()
    return float(mean), float(max(0.0, mean - half)), float(min(1.0, mean + half))


def save_atlas(run: "Run", atlas: Atlas) -> str:
    """Keep an atlas in its run; the name it is kept under."""
    name = _name(atlas.by)
    buffer = io.BytesIO()
    parts = [(d.value, d.p, d.significant, d.lit) for d in atlas.comparison.differences]
    names = ("value", "p", "significant", "lit")
    columns = zip(*parts, strict=True) if parts else [()] * len(names)
    table = io.BytesIO()
    atlas.samples.to_parquet(table, index=False)
    rest = {
        "by": atlas.by, "alignment": asdict(atlas.alignment), "settings": atlas.settings, "seconds": atlas.seconds,
        "groups": [[d.group, d.n, d.n_rest] for d in atlas.comparison.differences],
        "p": atlas.comparison.p, "permutations": atlas.comparison.permutations, "left_out": atlas.comparison.left_out,
        "images_left_out": atlas.images_left_out,
    }  # fmt: skip
    np.savez(
        buffer, maps=atlas.maps, mean_image=atlas.mean_image, **dict(zip(names, map(np.array, columns), strict=True)),
        samples=np.frombuffer(table.getvalue(), np.uint8), rest=np.array(json.dumps(rest)),
    )  # fmt: skip
    run.store.write(name, buffer.getvalue())
    return name


def load_atlas(run: "Run", by: list[str]) -> Atlas:
    """An atlas kept in a run; ``NotFoundError`` says how to make it."""
    name = _name(by)
    if not run.store.exists(name):
        raise NotFoundError(
            f"Run '{run.id}' has no atlas by {', '.join(by)} yet. Make it: visrec atlas {run.id} --by {','.join(by)}"
        )
    with np.load(io.BytesIO(run.store.read(name)), allow_pickle=False) as kept:
        rest = json.loads(str(kept["rest"]))
        samples = pd.read_parquet(io.BytesIO(kept["samples"].tobytes()))
        parts = zip(rest["groups"], kept["value"], kept["p"], kept["significant"], kept["lit"], strict=True)
        differences = tuple(Difference(*group, *arrays) for group, *arrays in parts)
        comparison = Comparison(differences, rest["p"], rest["permutations"], rest["left_out"])
        return Atlas(
            tuple(rest["by"]), samples, kept["maps"], kept["mean_image"], Alignment(**rest["alignment"]), comparison,
            rest["settings"], rest["seconds"], rest.get("images_left_out", {}),
        )  # fmt: skip


def kept_atlases(run: "Run") -> list[list[str]]:
    """The attributes of every atlas that a run keeps."""
    from urllib.parse import unquote

    keys = [info.key.removeprefix(PREFIX) for info in run.store.list(PREFIX) if info.key.endswith(".npz")]
    named = [[unquote(part) for part in key.removesuffix(".npz").split("+")] for key in keys]
    return [by for by in named if by == in_order(by)]


def in_order(by: Iterable[str]) -> list[str]:
    """Attributes in the one order that an atlas is made and kept in: by race and age is the atlas by age and race.

    >>> in_order(["race", "age", "race"])
    ['age', 'race']
    """
    return sorted(set(by))


def _name(by: Iterable[str]) -> str:
    from urllib.parse import quote

    return f"{PREFIX}{'+'.join(quote(name, safe=' ') for name in in_order(by))}.npz"


def _halves(draws: int) -> tuple[slice, slice, slice]:
    return slice(0, draws), slice(draws, 2 * draws), slice(None)


def _check(images: np.ndarray, samples: pd.DataFrame, by: list[str]) -> None:
    if len(images) != len(samples) or len(images) == 0:
        raise InputError(f"{len(images)} images and {len(samples)} rows were given, expected as many of both, not 0.")
    for name in ["label", *by]:
        if name not in samples:
            raise InputError(f"The table has no column '{name}'. {nearest(name, samples.columns)}")
