"""How a rectangle becomes the square that a model takes: the choice, and some images of the bucket before and after."""

import io

import pandas as pd
import streamlit as st

from visrec.data.images import FITS
from visrec.ui import bucket_view, widgets

WORDS = {"stretch": "Stretch", "crop": "Crop to the middle", "pad": "Pad with white"}
EFFECT = {
    "stretch": "All of each image is seen, out of shape.",
    "crop": "Shapes are kept; what lies at the ends of the longer side is never seen.",
    "pad": "All of each image is seen in its own shape, smaller, between white bars.",
}
KEY = "bucket_fit"
SHOWN, LOOKED_AT, SIDE = 4, 24, 112


def chosen(default: str = "stretch") -> str:
    """What the visitor chose on this page, else the default."""
    return st.session_state.get(KEY) or default


def draw(url: str, samples: pd.DataFrame, default: str = "stretch") -> None:
    """The choice, and the images that it matters most for."""
    fit = st.segmented_control(
        "Fit", list(FITS), default=default, required=True, format_func=WORDS.get, key=KEY, label_visibility="collapsed",
        help="Used by *Train on this*; a run records it, and its model sees every later image the same way.",
    )  # fmt: skip
    st.caption(EFFECT[fit])
    pictures = longest(bucket_view.thumbnails(url, list(samples["file"].head(LOOKED_AT))))
    if not pictures:
        st.caption("The images looked at are square, so the choice changes nothing for them.")
        return
    with st.container(horizontal=True, gap="medium"):
        for key, data in pictures.items():
            with st.container(width=2 * SIDE + 24):
                with st.container(horizontal=True, gap="xsmall", vertical_alignment="bottom"):
                    st.image(data, width=SIDE, caption="before")
                    st.image(framed(squared(data, fit)), width=SIDE, caption="after")
                st.caption(widgets.escape(key.rpartition("/")[2]))


def longest(thumbnails: dict[str, bytes | None], count: int = SHOWN) -> dict[str, bytes]:
    """The images furthest from square, furthest first; none of those within a twentieth of it."""
    ratios = {key: _ratio(data) for key, data in thumbnails.items() if data is not None}
    found = sorted((key for key, ratio in ratios.items() if ratio > 1.05), key=lambda key: -ratios[key])
    return {key: thumbnails[key] for key in found[:count]}


def squared(data: bytes, fit: str, side: int = 2 * SIDE) -> bytes:
    """An encoded image as the square that training makes of it, PNG."""
    from PIL import Image

    from visrec.data.images import to_square

    out = io.BytesIO()
    to_square(Image.open(io.BytesIO(data)), side, fit).save(out, "PNG")
    return out.getvalue()


def framed(data: bytes) -> bytes:
    """An encoded image with a thin grey line around it, so that white bars have an end on a white page; PNG."""
    from PIL import Image, ImageOps

    out = io.BytesIO()
    ImageOps.expand(Image.open(io.BytesIO(data)).convert("RGB"), 2, (128, 128, 128)).save(out, "PNG")
    return out.getvalue()


def _ratio(data: bytes) -> float:
    from PIL import Image

    width, height = Image.open(io.BytesIO(data)).size
    return max(width, height) / min(width, height)
