"""The Explain page's context: the training images nearest to an image, and whether any is near enough.

The index of the training images is made when somebody asks for it, then kept with the run. The image itself and its
features stay in the memory of the visit.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING

import streamlit as st

from visrec.errors import NotFoundError
from visrec.ui import bucket_view, cached, explaining, widgets, wording

if TYPE_CHECKING:
    from visrec.explain.neighbours import Index, Neighbours

UNUSUAL = 0.9
"""From this share of less strange held-out images on, an image is not called usual."""
SMALL = 0.5
"""Of the side that the model takes: an image with less is mostly made up when it is enlarged."""


def look(run, picture: "explaining.Picture", predict) -> "Neighbours | None":
    """What is near the image, with the warnings that belong before any prediction; None while there is no index."""
    network = run.has("model.keras")
    index = _index(run.id) if network else None
    _warn_of_size(picture, predict.image_size)
    _warn_of_blur(run.id, picture, index)
    if not network:
        st.caption(
            ":material/help: Not known: whether the model was trained on such images; its file tells no features."
        )
        return None
    if index is None:
        _offer(run, predict)
        return None
    found = _near(run.id, index, picture)
    _warn(found)
    return found


def show(run, found: "Neighbours") -> None:
    """The nearest training images with their labels."""
    labels = found.images["label"].value_counts()
    st.markdown("**The nearest training images**")
    st.caption(
        f"{labels.iloc[0]} of {len(found.images)} are labelled **{widgets.escape(labels.index[0])}**. Near means alike "
        "to the model, not to people; the number is the distance: 0 is the same, 1 has nothing in common."
    )
    images = found.images.reset_index(drop=True)
    captions = images["label"].astype(str) + " · " + images["distance"].map("{:.2f}".format)
    bucket_view.wall(run.record.get("bucket") or "", images, captions, width=96)


def _warn_of_size(picture: "explaining.Picture", side: int) -> None:
    width, height = picture.size
    if min(width, height) < SMALL * side:
        st.warning(
            f"This image is small: {width} x {height} pixels, and the model looks at {side} x {side}. What it sees is "
            "mostly made up by enlarging. Send a larger one if you can.",
            icon=":material/photo_size_select_small:",
        )


def _warn_of_blur(run_id: str, picture: "explaining.Picture", index: "Index | None") -> None:
    """Pixels are enough for that: said for every model, and whether there is an index or not."""
    from visrec.explain.blur import is_blurred

    side = picture.pixels.shape[0]
    usual = _usual_sharpness(cached.settings().runs, run_id, side) if index is None else index.sharpness
    if not is_blurred(picture.pixels, usual):
        return
    than = (
        "Its neighbouring pixels hardly differ" if usual is None else "It is blurrier than 99 % of the training images"
    )
    st.warning(
        f"This image is blurred. {than}, and what the model makes of it may be worth little. Send a sharper one if you "
        "can.",
        icon=":material/blur_on:",
    )


@st.cache_resource(ttl=3600, max_entries=8, show_spinner="Looking how sharp the training images are")
def _usual_sharpness(url: str, run_id: str, side: int):
    from visrec.explain.blur import usual_sharpness

    return usual_sharpness(cached.run(run_id), cached.settings(), side)


def _warn(found: "Neighbours") -> None:
    if found.far:
        st.warning(
            f"This image is far from what the model was trained on: stranger to it than {found.percentile:.0%} of "
            "held-out images (of images like those, at most 2 in 100 are called so by mistake). Its answer is a guess, "
            "whatever its score.",
            icon=":material/warning:",
        )
    elif found.far is None:
        st.caption(":material/help: Too few held-out images to say whether this image is like the training images.")
    elif found.percentile >= UNUSUAL:
        st.caption(
            f":material/help: Stranger to the model than {found.percentile:.0%} of held-out images, but not so strange "
            "that it would be called far from them. Look at the nearest ones below."
        )
    else:
        st.caption(
            f":material/check_circle: As usual for this model: {1 - found.percentile:.0%} of held-out images are "
            "stranger to it."
        )


def _offer(run, predict) -> None:
    """Say what is not known yet, and make the index when asked to: with progress, and a way to stop."""
    count = _wanted(run)
    if not count:
        return
    with st.container(border=True):
        st.markdown(
            ":material/help: **Not known yet: whether this image is like those the model was trained on.** Saying so "
            f"takes looking at {wording.count(count, 'image')}, once for this run: about "
            f"{wording.duration(10 + count * (explaining.READING + explaining.seconds_per_image(run.id, predict)))}."
        )
        place = st.empty()
    if not place.button("Compare with the training images", icon=":material/compare:", key="explain_index"):
        return
    from visrec.explain.neighbours import index_run

    with place.container():
        bar = st.progress(0.0, text="Loading the part of the model that sees")
        st.button("Stop", icon=":material/stop_circle:", key="explain_index_stop")  # any rerun ends what is going on

        def told(done: int, total: int) -> None:
            if done % 20 == 0 or done == total:
                bar.progress(done / total, text=f"{done:,} of {total:,} images")

        index_run(run, cached.settings(), _features(run.id), progress=told)
    st.rerun()


def _wanted(run) -> int:
    """How many images an index looks at; 0 when the run has no training images to compare with."""
    from visrec.explain.familiar import SPOILT
    from visrec.explain.neighbours import MOST, SPOILT_ONES

    try:
        splits = cached.predictions(run.id)["split"].astype(str)
    except NotFoundError:
        return 0
    train = int((splits == "train").sum())
    held = int(splits.isin(["tune", "val", "test"]).sum())
    looked_at = min(train, MOST) + min(held, MOST // 3) + min(train, SPOILT_ONES) * len(SPOILT)
    return looked_at if train and run.record.get("bucket") else 0


def _near(run_id: str, index: "Index", picture: "explaining.Picture") -> "Neighbours":
    kept = st.session_state.setdefault("_near", OrderedDict())
    key = (run_id, picture.digest)
    if key not in kept:
        features, views = _features(run_id).look(picture.pixels[None])
        kept[key] = index.near(features[0], views)
        while len(kept) > explaining.KEPT:
            kept.popitem(last=False)
    return kept[key]


def _index(run_id: str) -> "Index | None":
    try:
        return _kept_index(cached.settings().runs, run_id)
    except NotFoundError:  # raised, so that "there is none" is not what the cache remembers
        return None


@st.cache_resource(max_entries=3, show_spinner=False)
def _kept_index(url: str, run_id: str) -> "Index":
    from visrec.explain.neighbours import load_index

    index = load_index(cached.run(run_id))
    if index is None:
        raise NotFoundError(f"Run '{run_id}' has no index of its training images yet.")
    return index


def _features(run_id: str):
    from visrec.runs import jobs

    current = cached.settings()
    return _feature_predictor(current.runs, run_id, jobs.is_training(current))


@st.cache_resource(max_entries=3, show_spinner="Loading the part of the model that sees")
def _feature_predictor(url: str, run_id: str, device_busy: bool):
    from visrec.explain.neighbours import FeaturePredictor

    return FeaturePredictor(cached.run(run_id), device_busy=device_busy)
