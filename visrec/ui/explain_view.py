"""The parts of the Explain page: where the image comes from, what the model answers, the overlay and its badge."""

import pandas as pd
import streamlit as st

from visrec.errors import NotFoundError, VisrecError
from visrec.ui import bucket_view, cached, explaining, frame, state, widgets, wording

SOURCES = {
    "upload": ":material/upload: Upload",
    "camera": ":material/photo_camera: Camera",
    "test": ":material/photo_library: Test images",
}
FILE = "file"
"""Query parameter, and session key, of the chosen test image."""
PER_PAGE = 12
QUICK = 2.5
"""Seconds: a badge that takes no longer is computed without being asked for."""
BADGES = {
    "solid": ("green", ":material/verified:", "This explanation can be used."),
    "shaky": ("orange", ":material/rule:", "Use this explanation with care."),
    "do not use": ("red", ":material/block:", "Do not use this explanation."),
    "no explanation": ("gray", ":material/help:", "There is nothing to explain."),
}


def choose_source() -> str:
    """Upload, camera or test images; a test image that the URL names is shown at once."""
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
        return None if sent is None else explaining.picture(sent.getvalue(), sent.name, size)
    except VisrecError as error:
        st.error(widgets.escape(str(error)), icon=":material/error:")
        return None


def _sent(source: str):
    if source == "camera":
        return st.camera_input("Take a photo", key="explain_camera", label_visibility="collapsed")
    from visrec.explain.upload import EXTENSIONS, MAX_BYTES

    sent = st.file_uploader(
        "An image: drop it here, paste it, or choose a file",
        type=list(EXTENSIONS),
        max_upload_size=MAX_BYTES // 1_000_000,
        key="explain_upload",
        help="It stays in the memory of this visit: it is not stored, and nobody else sees it.",
    )
    if sent is None:
        st.caption(
            "It stays in the memory of this visit: it is not stored. No image at hand? Choose *Test images* above."
        )
    return sent


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


def show_answer(run_id: str, picture: "explaining.Picture", predict) -> None:
    """The image, the predicted class with every score, and what is known of a test image."""
    scores = pd.Series(predict(picture.pixels[None])[0], index=predict.labels).sort_values(ascending=False)
    st.image(picture.shown, width="stretch", alt=f"The image {picture.name}")
    best = scores.index[0]
    st.metric("The model answers", best, help="The class with the highest score.")
    st.dataframe(
        scores.rename_axis("class").rename("score").reset_index(),
        hide_index=True,
        alt="Score of every class",
        height=min(38 * (len(scores) + 1), 260),
        column_config={
            "score": st.column_config.ProgressColumn("score", min_value=0.0, max_value=1.0, format="%.3f"),
        },
    )
    _how_sure(run_id, scores.to_numpy())
    if picture.row is None:
        return
    label = str(picture.row["label"])
    right = label == best
    st.markdown(
        f"{':material/check_circle: Right' if right else ':material/cancel: Wrong'}: "
        f"the label says **{widgets.escape(label)}**."
    )
    known = {name: picture.row[name] for name in state.attributes_of(state.focus(), picture.row.to_frame().T)}
    if known:
        st.caption(" · ".join(f"{wording.nice(k)}: {widgets.escape(v)}" for k, v in known.items()))
    st.caption(widgets.escape(picture.name))


def _how_sure(run_id: str, scores) -> None:
    """What such a score was worth on images that the model had never seen."""
    try:
        found = cached.calibration(run_id)
    except NotFoundError:
        return
    seen = found.observed(float(found.apply(scores).max()))
    if not seen["n"]:
        return
    st.caption(
        f":material/fact_check: Of the {seen['n']:,} held-out images it was about as sure of, **{seen['value']:.0%}** "
        f"were answered rightly ({seen['low']:.0%} to {seen['high']:.0%}). That holds for images like those, not for "
        "any image."
    )


def show_explanation(run_id: str, picture: "explaining.Picture", predict) -> None:
    """Compute once, with progress and a way to stop; then everything is only redrawn."""
    recipe = _recipe()
    key = (run_id, picture.digest, recipe)
    if not explaining.is_known(run_id, picture, recipe):
        if st.session_state.get("explain_stopped") == key:
            st.info("The explanation was stopped.", icon=":material/stop_circle:")
            st.button("Explain", type="primary", key="explain_again", on_click=_forget_stop)
            return
        _compute(run_id, picture, recipe, predict, key)
    explained = explaining.explanation(run_id, picture, recipe, predict)
    _overlay(run_id, picture, recipe, predict, explained)


def _compute(run_id, picture, recipe, predict, key) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, text="Cutting the image into superpixels")
        st.button("Stop", icon=":material/stop_circle:", key="explain_stop", on_click=_stop, args=(key,))

        def told(done: int, total: int) -> None:
            bar.progress(done / total, text=f"Asking the model about {done:,} of {total:,} maskings")

        explaining.explanation(run_id, picture, recipe, predict, progress=told)
    place.empty()


def _stop(key) -> None:
    st.session_state["explain_stopped"] = key


def _forget_stop() -> None:
    st.session_state.pop("explain_stopped", None)


def _recipe() -> "explaining.Recipe":
    with st.expander("How it is computed", icon=":material/tune:"):
        st.caption(
            "LIME hides superpixels at random, asks the model about each of these maskings, and weighs every "
            "superpixel by how much showing it moves the score. The same settings give the same weights."
        )
        one, two = st.columns(2)
        samples = one.number_input("Maskings", 100, 20_000, 1000, step=100, key="explain_samples")
        seed = two.number_input("Seed", 0, 2**31 - 1, 0, key="explain_seed")
        segmenter = one.selectbox(
            "Cut the image", list(explaining.SEGMENTERS), format_func=explaining.SEGMENTERS.get, key="explain_segmenter"
        )
        fill = two.selectbox(
            "Hide superpixels by", list(explaining.FILLS), format_func=explaining.FILLS.get, key="explain_fill"
        )
    return explaining.Recipe(int(samples), int(seed), segmenter, fill)


@st.fragment
@frame.guard()
def _overlay(run_id, picture, recipe, predict, explained) -> None:
    """The overlay with its sliders; moving one redraws, and computes nothing."""
    from visrec.explain.overlay import render_overlay

    labels = predict.labels
    label = st.selectbox(
        "Why, or why not",
        range(len(labels)),
        index=explained.label,
        format_func=lambda i: f"{labels[i]} ({explained.prediction[i]:.3f})",
        key=f"explain_label_{picture.digest[:12]}_{run_id}",
    )
    one, two = st.columns(2)
    count = explained.n_segments
    top = one.slider("Superpixels", 1, count, min(10, count), key="explain_top") if count > 1 else 1
    opacity = two.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="explain_opacity")
    three, four = st.columns([3, 2])
    show = three.segmented_control(
        "Show", ["both", "supports", "opposes"], default="both", required=True, key="explain_show"
    )
    style = four.segmented_control("As", ["outline", "heat"], default="outline", required=True, key="explain_style")
    drawn = render_overlay(picture.shown, explained, label, top=top, opacity=opacity, show=show, style=style)
    st.image(drawn, width="stretch", alt=f"Superpixels that speak for and against {labels[label]}")
    st.caption(
        f":blue[■] supports **{widgets.escape(labels[label])}** · :orange[▨] opposes it, dashed outline · "
        f"{count} superpixels, {explained.samples:,} maskings, {sum(explained.seconds.values()):.1f} s"
    )
    judged = _show_badge(run_id, picture, recipe, label, predict, explained)
    stem = widgets.file_stem(picture.name)
    with st.container(horizontal=True):
        st.download_button(
            "Download PNG", explaining.png(drawn), f"{stem}-overlay.png", "image/png",
            icon=":material/image:", key="explain_png", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Download JSON", lambda: explaining.as_json(run_id, picture, explained, labels, judged),
            f"{stem}-explanation.json", "application/json",
            icon=":material/data_object:", key="explain_json", on_click="ignore",
        )  # fmt: skip


def _show_badge(run_id, picture, recipe, label: int, predict, explained):
    """Whether the explanation can be believed: at once where that is quick, else when asked."""
    if explained.too_few_samples:
        st.caption(
            f":material/info: {explained.samples:,} maskings are few for {explained.n_segments} superpixels; take "
            f"{10 * explained.n_segments:,} or more, under *How it is computed*."
        )
    expected = 2.3 * sum(explained.seconds.values())
    if (
        not explaining.badge_is_known(run_id, picture, recipe, label)
        and expected > QUICK
        and not st.button(
            f"Can it be believed? (about {wording.duration(expected)})",
            icon=":material/fact_check:",
            key="explain_judge",
        )
    ):
        return None
    with st.spinner("Checking whether it can be believed"):
        judged = explaining.badge(run_id, picture, recipe, label, predict, explained)
    colour, icon, sentence = BADGES[judged.verdict]
    st.markdown(f":{colour}-badge[{icon} {judged.verdict}] {sentence}")
    for reason in judged.reasons:
        st.markdown(f"- {widgets.escape(reason)}")
    return judged


def gallery(run, *, chosen: bool) -> None:
    """Test images to pick from, the surest wrong answers first; the slicers in the sidebar apply."""
    st.subheader("Another image" if chosen else "Pick an image", anchor=False)
    try:
        view = state.view()
    except NotFoundError as error:
        st.caption(str(error))
        return
    widgets.strip(view)
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
