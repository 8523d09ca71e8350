"""The Explain page's image and answer: where the image comes from, and what the model says of it.

The overlay with its badge, the nearest training images and the group's accuracy are modules of their own beside this.
"""

import numpy as np
import pandas as pd
import streamlit as st

from visrec.errors import InputError, NotFoundError, VisrecError
from visrec.ui import bucket_view, cached, explaining, frame, state, widgets, wording

SOURCES = {
    "upload": ":material/upload: Upload",
    "paste": ":material/content_paste: Paste",
    "camera": ":material/photo_camera: Camera",
    "test": ":material/photo_library: Test images",
}
FILE = "file"
"""Query parameter, and session key, of the chosen test image."""
PER_PAGE = 12
STAYS = "It stays in the memory of this visit: it is not stored, and nobody else sees it."


def choose_source() -> str:
    """Upload, paste, camera or test images; a test image that the URL names is shown at once."""
    if "source" not in st.session_state:
        asked = st.query_params.get(FILE) or st.session_state.get(FILE)
        st.session_state["source"] = "test" if asked else "upload"
    source = st.segmented_control(
        "Image", list(SOURCES), required=True, format_func=SOURCES.get, key="source", label_visibility="collapsed"
    )
    if source != "test" and FILE in st.query_params:
        del st.query_params[FILE]
    return source


def get_picture(source: str, run, size: int) -> "explaining.Picture | None":
    """The image to explain, or None while there is none; a refusal is a sentence in its place."""
    try:
        if source == "test":
            return _test_picture(run, size)
        sent = _sent(source)
        return None if sent is None else _decoded(*sent, size, run.fit)
    except VisrecError as error:
        st.error(widgets.escape(str(error)), icon=":material/error:")
        return None


def _sent(source: str) -> tuple[bytes, str] | None:
    """Bytes and name of what the visitor sent in one of the three ways."""
    if source == "paste":
        return _pasted()
    if source == "camera":
        sent = st.camera_input("Take a photo", key="explain_camera", label_visibility="collapsed")
    else:
        sent = _dropped()
    return None if sent is None else (sent.getvalue(), sent.name)


def _dropped():
    from visrec.explain.upload import EXTENSIONS, MAX_BYTES

    sent = st.file_uploader(
        "An image: drop it here, or choose a file",
        type=list(EXTENSIONS), max_upload_size=MAX_BYTES // 1_000_000, key="explain_upload", help=STAYS,
    )  # fmt: skip
    if sent is None:
        st.caption(f"{STAYS} No image at hand? Choose *Test images* above.")
    return sent


def _pasted() -> tuple[bytes, str] | None:
    """A box that takes pictures from the clipboard, as the uploader does not; its last one is kept for the visit."""
    from visrec.explain.upload import EXTENSIONS, MAX_BYTES

    with st.container():  # in a container it stands in the page, not at the foot of the window
        sent = st.chat_input(
            "Click here, paste an image, and press Enter",
            accept_file=True, file_type=list(EXTENSIONS), max_upload_size=MAX_BYTES // 1_000_000, key="explain_paste",
        )  # fmt: skip
    if sent is not None:
        st.session_state.pop("explain_pasted", None)
        if not sent.files:
            raise InputError("That was text, and an image is expected: copy the image itself, then paste it here.")
        st.session_state["explain_pasted"] = (sent.files[0].getvalue(), sent.files[0].name)
    kept = st.session_state.get("explain_pasted")
    if kept is None:
        st.caption(STAYS)
    return kept


def _decoded(data: bytes, name: str, size: int, fit: str) -> "explaining.Picture":
    """The picture of these bytes; the last one is kept, so that a rerun does not decode 12 megapixels again."""
    key = (hash(data), len(data), name, size, fit)
    kept = st.session_state.get("_picture")
    if kept is None or kept[0] != key:
        kept = st.session_state["_picture"] = (key, explaining.picture(data, name, size, fit=fit))
    return kept[1]


def _test_picture(run, size: int) -> "explaining.Picture | None":
    key = st.session_state.get(FILE) or st.query_params.get(FILE)
    if not key:
        return None
    if st.query_params.get(FILE) != key:
        st.query_params[FILE] = key
    rows = cached.predictions(run.id)
    rows = rows[rows["file"].astype(str) == key]
    if rows.empty:
        raise NotFoundError(f"The image '{key}' is not among the predictions of this run. Pick one below.")
    return explaining.from_bucket(run, key, size, rows.iloc[0])


def show_answer(run_id: str, picture: "explaining.Picture", predict, *, far: bool | None) -> None:
    """The image, the predicted class with every score, and what is known of a test image.

    ``far``: whether the image is far from the training data, None where that is not known.
    """
    scores = pd.Series(predict(picture.pixels[None])[0], index=predict.labels).sort_values(ascending=False)
    st.image(picture.shown, width="stretch", alt=f"The image {picture.name}")
    best = scores.index[0]
    calibration = _calibration(run_id)
    sure = scores if calibration is None else pd.Series(calibration.apply(scores.to_numpy()), index=scores.index)
    calibrated = calibration is not None and calibration.known
    widgets.figures(
        [
            ("The model answers", best, "The class with the highest score."),
            (
                "Confidence" if calibrated else "Score",
                f"{sure.iloc[0]:.1%}",
                _what_confidence_is(calibration, scores.iloc[0]),
            ),
        ]
    )
    _how_sure(calibration, float(sure.iloc[0]), far)
    _score_table(scores, sure if calibrated else None)
    if picture.row is not None:
        _what_is_known(picture, best)


def _calibration(run_id: str):
    """How far the run's scores may be believed; None when it has no predictions to learn that from."""
    try:
        return cached.calibration(run_id)
    except NotFoundError:
        return None


def _what_confidence_is(calibration, score: float) -> str:
    if calibration is None:
        return "The model's own score. This run has no predictions, so what the score is worth is not known."
    if not calibration.known:
        return f"The model's own score, as it is: it could not be calibrated ({calibration.reason})."
    return (
        f"Calibrated. The model itself says {score:.1%}. Its scores are softened by one temperature, "
        f"{calibration.temperature:.2f}, fitted on {calibration.rows:,} tune images; the order of the classes stays."
    )


def _how_sure(calibration, confidence: float, far: bool | None) -> None:
    """What such a confidence was worth on images that the model had never seen."""
    from visrec.explain.calibration import LEAST_LIKE

    if far:
        st.caption(":material/warning: Confidence means little here: this image is unlike those it was measured on.")
        return
    if calibration is None or not len(calibration.confidence):
        return
    seen = calibration.observed(confidence)
    if np.isnan(seen["value"]):
        st.caption(
            ":material/help: Too few held-out images it was about as sure of to say how often that is right "
            f"({seen['n']:,}; {LEAST_LIKE} are needed)."
        )
        return
    st.caption(
        f":material/fact_check: Of the {seen['n']:,} held-out images it was about as sure of, **{seen['value']:.0%}** "
        f"were answered rightly ({seen['low']:.0%} to {seen['high']:.0%}). That holds for images like those, not for "
        "any image."
    )


def _score_table(scores: pd.Series, calibrated: pd.Series | None) -> None:
    """Every class; the bar is the calibrated confidence where there is one, else the score itself."""
    table = scores.rename_axis("class").rename("score").reset_index()
    bar = lambda title: st.column_config.ProgressColumn(title, min_value=0.0, max_value=1.0, format="%.3f")
    config = {"score": bar("score")}
    if calibrated is not None:
        table.insert(1, "calibrated", calibrated.to_numpy())
        config = {
            "calibrated": bar("confidence"),
            "score": st.column_config.NumberColumn("score", format="%.3f", width="small"),
        }
    st.dataframe(
        table, hide_index=True, alt="Score of every class", height=min(35 * (len(scores) + 1) + 3, 260),
        column_config=config,
    )  # fmt: skip


def _what_is_known(picture: "explaining.Picture", best: str) -> None:
    """Label and attributes of a test image."""
    label = str(picture.row["label"])
    right = ":material/check_circle: Right" if label == best else ":material/cancel: Wrong"
    st.markdown(f"{right}: the label says **{widgets.escape(label)}**.")
    known = {name: picture.row[name] for name in state.attributes_of(state.focus(), picture.row.to_frame().T)}
    if known:
        st.caption(" · ".join(f"{wording.nice(k)}: {widgets.escape(v)}" for k, v in known.items()))
    st.caption(widgets.escape(picture.name))


def gallery(run, *, chosen: bool) -> None:
    """Test images to pick from, the surest wrong answers first; the slicers in the sidebar apply."""
    st.subheader("Another image" if chosen else "Pick an image", anchor=False)
    try:
        view = state.view()
    except NotFoundError as error:
        st.caption(str(error))
        return
    st.caption(widgets.strip(view))
    widgets.warn_of_training_rows(view)
    _pages(run, explaining.worst_first(view.rows, view.scores))


@st.fragment
@frame.guard()
def _pages(run, rows: pd.DataFrame) -> None:
    wrong = int((rows["label"].astype(str) != rows["prediction"].astype(str)).sum())
    st.caption(f"{wording.count(wrong, 'wrong answer')} first, the surest at the top; then the right ones.")
    if rows.empty:
        st.info("No row passes the filters in the sidebar.", icon=":material/filter_alt_off:")
        return
    pages = -(-len(rows) // PER_PAGE)
    page = st.number_input(f"Page (of {pages:,})", 1, pages, key="explain_page", width=160) if pages > 1 else 1
    shown = rows.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    images = bucket_view.thumbnails(run.record.get("bucket") or "", [str(f) for f in shown["file"]])
    with st.container(horizontal=True, gap="small"):
        for key, (_, row) in zip(shown["file"].astype(str), shown.iterrows(), strict=True):
            with st.container(width=bucket_view.THUMBNAIL + 24, border=True, gap="xsmall"):
                _card(key, row, images.get(key))


def _card(key: str, row: pd.Series, image: bytes | None) -> None:
    if image is None:
        st.caption(":material/broken_image: cannot be read")
    else:
        st.image(image, width="stretch", alt=f"{key}: {row['label']} answered as {row['prediction']}")
    right = str(row["label"]) == str(row["prediction"])
    score = row.get(f"score:{row['prediction']}")
    sure = "" if score is None else f" {score:.2f}"
    mark = ":material/check:" if right else ":material/close:"
    st.caption(f"{mark} {widgets.escape(row['prediction'])}{sure}" + ("" if right else f", is {row['label']}"))
    if st.button("Explain", key=f"pick_{key}", width="stretch", disabled=image is None):
        st.session_state[FILE] = key
        st.rerun()
