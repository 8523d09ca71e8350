"""The Atlas page's pictures: mean maps of each group, where groups differ, and how good the explanations are.

Maps are drawn over the mean of all images on one common scale. Where a difference is not lit, nothing can be told:
that is said in words and shown by a veil, never by a colour that could be read as "the same".
"""

import numpy as np
import pandas as pd
import streamlit as st

from visrec.explain.atlas import LEAST, mean_maps, say_left_out
from visrec.explain.compare import LEVEL
from visrec.ui import audit_view, charts_rows, frame, widgets, wording

SIDE = 150
"""Pixels of one map on the page."""
SMALL = 136
"""Pixels of one difference: two such cards fit side by side on a telephone."""
DRAWN = 336
"""Pixels at which a map is drawn, so that it stays crisp on a dense screen."""
OUTCOMES = {"all": "All images", "outcome": "Right and wrong answers", "prediction": "Each predicted class"}
"""The kinds of `visrec.explain.atlas.KINDS`."""
STRENGTH = 1.0
FULL = 0.98
"""Share of squares below full colour, so that one strong square does not make the others invisible."""
VEIL = 0.6
"""How far an unlit square fades into grey."""


def show(atlas, name: str) -> None:
    """Everything that an atlas (`visrec.explain.atlas.Atlas`) tells."""
    _say_alignment(atlas)
    _say_sample(atlas)
    st.subheader("Where does it look, group by group?", anchor=False)
    _mean_maps(atlas, name)
    st.subheader("Where do the groups differ?", anchor=False)
    _differences(atlas, name)
    st.subheader("How good are the explanations, group by group?", anchor=False)
    _quality(atlas, name)


def _say_alignment(atlas) -> None:
    found = atlas.alignment
    if found.aligned is False:
        st.warning(widgets.escape(found.sentence), icon=":material/grid_off:")
    elif found.aligned is None:
        st.info(widgets.escape(found.sentence), icon=":material/help:")
    else:
        st.caption(f":material/grid_on: {widgets.escape(found.sentence)}")


def _say_sample(atlas) -> None:
    made = atlas.settings
    st.caption(
        f"{wording.count(len(atlas.samples), 'image')} of split {widgets.escape(made.get('split', 'val'))}, at most "
        f"{made.get('per_cell', len(atlas.samples)):,} of each group, each explained by LIME for the class that the "
        f"model predicted, on {made['grid']} x {made['grid']} squares with {made['samples']:,} maskings; seed "
        f"{made['seed']}; took {wording.duration(atlas.seconds)}. The filters in the sidebar do not apply here."
    )
    if left_out := say_left_out(atlas.images_left_out):
        st.caption(f":material/info: {left_out}")


@st.fragment
@frame.guard()
def _mean_maps(atlas, name: str) -> None:
    """Mean maps of every group, by outcome, on one scale."""
    how = st.segmented_control(
        "Apart by", list(OUTCOMES), default="outcome", required=True, format_func=OUTCOMES.get, key="atlas_outcome"
    )
    means = mean_maps(atlas, how)
    known = means.loc[means["known"], "map"]
    if known.empty:
        st.info(f"No group has {LEAST} images of one kind, so there is no mean to draw.", icon=":material/help:")
        return
    scale = max(float(np.quantile(np.abs(np.stack(known.to_list())), FULL)), 1e-9)
    _scale_bar(scale, "opposes the predicted class", "supports it")
    with st.container(horizontal=True, gap="small"):
        for cell in widgets.ordered(means["cell"].unique()):
            _group_of_maps(atlas, cell, means[means["cell"] == cell], scale)
    widgets.table(squares(means), f"atlas-{name}-{how}", label="Mean weights as a table")


def squares(maps: pd.DataFrame) -> pd.DataFrame:
    """Maps as a table with a row per square; squares are counted from the top left, from 1.

    >>> squares(pd.DataFrame({"cell": ["a"], "n": [3], "map": [np.array([[0.5, -0.5]])]})).to_dict("records")
    [{'cell': 'a', 'n': 3, 'row': 1, 'column': 1, 'weight': 0.5}, {'cell': 'a', 'n': 3, 'row': 1, 'column': 2, \
'weight': -0.5}]
    """
    parts = []
    for record in maps.to_dict("records"):
        grid = record.pop("map")
        rows, columns = np.indices(grid.shape).reshape(2, -1) + 1
        parts.append(pd.DataFrame({**record, "row": rows, "column": columns, "weight": grid.ravel()}))
    return pd.concat(parts, ignore_index=True)


def _group_of_maps(atlas, cell: str, part: pd.DataFrame, scale: float) -> None:
    with st.container(width=_card_width(len(part)), border=True, gap="xsmall"):
        st.markdown(f"**{widgets.escape(cell)}**")
        with st.container(horizontal=True, gap="small"):
            for record in part.to_dict("records"):
                if not record["known"]:
                    drawn, said = _ground(atlas, veiled=True), f"unknown, n = {record['n']:,}"
                else:
                    drawn, said = draw_map(atlas, record["map"], scale), f"n = {record['n']:,}"
                words = said if record["kind"] == "all" else f"{record['kind']}, {said}"
                st.image(drawn, width=SIDE, caption=widgets.escape(words), alt=f"{cell}, {words}: mean map")


def _card_width(maps: int, side: int = SIDE) -> int:
    """Pixels of a card with so many maps side by side, at most four; two still fit on a telephone."""
    maps = min(maps, 4)
    return maps * side + (maps - 1) * 16 + 36


def _differences(atlas, name: str) -> None:
    """Each group against the rest; only lit squares say something."""
    found = atlas.comparison
    _say_whole(found)
    if found.left_out:
        told = ", ".join(f"{widgets.escape(cell)} (n = {n})" for cell, n in found.left_out.items())
        st.caption(f":material/help: Too few comparable images, so not compared: {told}.")
    if not found.differences:
        return
    grid = atlas.maps.shape[1:]
    if any(d.lit.any() for d in found.differences):
        _difference_maps(atlas, found.differences, grid)
    elif found.p <= LEVEL:
        st.info(
            "Where they differ cannot be told: no single square stands out. More images may.", icon=":material/help:"
        )
    widgets.table(difference_table(found, grid), f"atlas-{name}-differences", label="Differences as a table")


def _difference_maps(atlas, differences, grid: tuple[int, int]) -> None:
    scale = max(max(float(np.abs(d.value[d.lit]).max(initial=0)) for d in differences), 1e-9)
    _scale_bar(scale, "counts less than for the rest", "counts more")
    st.caption(
        "**Unlit (hatched) squares: cannot tell.** That is not the same as no difference. Lit squares differ by more "
        "than chance (permutation test, false discoveries held to 5 %); images are compared only with images of the "
        "same label and the same answer. A dashed outline: counts less."
    )
    with st.container(horizontal=True, gap="small"):
        for one in differences:
            with st.container(width=_card_width(1, SMALL), border=True, gap="xsmall"):
                lit = int(one.lit.sum())
                said = f"{lit} of {one.lit.size} squares lit" if lit else "nothing lit: cannot tell"
                drawn = draw_difference(atlas, one.value.reshape(grid), one.lit.reshape(grid), scale)
                st.markdown(f"**{widgets.escape(one.group)}**")
                st.image(drawn, width=SMALL, alt=f"{one.group} against the rest: {said}")
                st.caption(f"{said}. n = {one.n:,} against {one.n_rest:,}")


def _say_whole(found) -> None:
    if np.isnan(found.p):
        st.info("No two groups have enough comparable images, so nothing can be compared.", icon=":material/help:")
    elif found.p > LEVEL:
        st.info(
            f"Cannot tell that any group differs anywhere (p = {found.p:.3f}, {found.permutations:,} relabellings).",
            icon=":material/help:",
        )
    else:
        st.markdown(
            f":material/difference: **Somewhere the groups differ by more than chance** (p = {found.p:.4f}, "
            f"{found.permutations:,} relabellings)."
        )


def difference_table(found, grid: tuple[int, int]) -> pd.DataFrame:
    """A row per group and square: value, p, significant, lit."""
    rows, columns = np.indices(grid).reshape(2, -1) + 1
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "group": d.group, "n": d.n, "n_rest": d.n_rest, "row": rows, "column": columns,
                    "difference": d.value, "p": d.p, "significant": d.significant, "lit": d.lit,
                }
            )
            for d in found.differences
        ],
        ignore_index=True,
    )  # fmt: skip


def _quality(atlas, name: str) -> None:
    table = atlas.quality()
    table = table.set_index("cell").loc[widgets.ordered(table["cell"])].reset_index()
    st.caption(
        "A group whose explanations are worse must not be judged by them. Lines are 95 % intervals of the mean; groups "
        f"with fewer than {LEAST} images are unknown."
    )
    left, right = st.columns(2)
    for place, rate, title, words in (
        (left, "r2", "R2 of the surrogate", "1: the simple model that LIME fits follows the network exactly."),
        (right, "stability", "Agreement of two seeds", "1: another seed names the same squares, with the same signs."),
    ):
        shown = pd.DataFrame(
            {
                "cell": table["cell"], "value": table[rate], "low": table[f"{rate}_low"],
                "high": table[f"{rate}_high"], "n": table["n"], "small": ~table[f"{rate}_known"],
            }
        )  # fmt: skip
        with place:
            st.markdown(f"**{title}**")
            figure = charts_rows.cell_dots(shown, overall=float(atlas.samples[rate].mean()), title=title)
            audit_view.show_chart(figure, words, key=f"atlas_{rate}")
    widgets.table(table, f"atlas-{name}-quality", label="Quality as a table")


def _scale_bar(scale: float, low: str, high: str) -> None:
    from visrec.explain.overlay import render_scale

    with st.container(width=_card_width(2), gap="xsmall"):
        st.image(render_scale(256, 10), width="stretch", alt=f"Scale: {low} at the left, {high} at the right")
        st.caption(f"−{scale:.3f}: {low} · +{scale:.3f}: {high} (in score)")


def draw_map(atlas, values: np.ndarray, scale: float) -> np.ndarray:
    """A map of squares over the mean image: uint8 (DRAWN, DRAWN, 3)."""
    from visrec.explain.overlay import render_map, stretch

    return render_map(_ground(atlas), stretch(values, (DRAWN, DRAWN)), opacity=STRENGTH, scale=scale)


def draw_difference(atlas, values: np.ndarray, lit: np.ndarray, scale: float) -> np.ndarray:
    """Lit squares in colour and outlined, dashed where the group's weight is less; the others veiled."""
    from visrec.explain.overlay import draw_outlines, render_map, stretch

    shape = (DRAWN, DRAWN)
    shown = stretch(lit, shape)
    coloured = render_map(_ground(atlas), stretch(values, shape), opacity=STRENGTH, scale=scale)
    drawn = np.where(shown[..., None], coloured, _ground(atlas, veiled=True))
    numbers = stretch(np.arange(values.size).reshape(values.shape), shape)
    return draw_outlines(drawn, numbers, values.ravel(), np.flatnonzero(lit))


def _ground(atlas, *, veiled: bool = False) -> np.ndarray:
    """The mean image, grey so that only the map has colour; veiled, it fades where nothing is known."""
    from PIL import Image

    image = Image.fromarray(atlas.mean_image).convert("L").resize((DRAWN, DRAWN), Image.Resampling.BICUBIC)
    grey = np.asarray(image, np.float32)
    low, high = np.quantile(grey, [0.01, 0.99])
    grey = 70 + 160 * (grey - low) / max(float(high - low), 1.0)  # light, and with the contrast that averaging took
    if veiled:
        grey = grey + VEIL * (160 - grey)
        rows, columns = np.indices(grey.shape, sparse=True)
        grey = np.where((rows + columns) % 16 < 2, grey - 26, grey)  # hatched, as unknown is everywhere
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
