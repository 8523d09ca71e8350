"""The Explain page's explanation: LIME's overlay with its sliders, a second opinion beside it, and the trust badge.

An explanation is computed once, with progress and a way to stop; every slider only draws it anew.
"""

import contextlib
import dataclasses

import streamlit as st

from visrec.ui import cached, explaining, frame, widgets, wording

QUICK = 2.5
"""Seconds: a badge that takes no longer is computed without being asked for."""
BADGES = {
    "solid": ("green", ":material/verified:", "This explanation can be used."),
    "shaky": ("orange", ":material/rule:", "Use this explanation with care."),
    "do not use": ("red", ":material/block:", "Do not use this explanation."),
    "no explanation": ("gray", ":material/help:", "There is nothing to explain."),
}
SECOND = {"occlusion": "Occlusion", "grad_cam": "Grad-CAM", "integrated_gradients": "Integrated Gradients"}
"""The methods of `visrec.explain.second`, quickest first."""
WORK = {
    "badge": "Checking whether it can be believed",
    "sanity": "Explaining the copy without weights",
    **{method: f"Asking by {name}" for method, name in SECOND.items()},
}
"""What is computed on request beside the explanation itself."""
ASKED, FAILED = "explain_asked", "explain_failed"
"""Session keys: the work that the page is to do next, and the one of which nothing came."""


def show_explanation(run_id: str, picture: "explaining.Picture", predict) -> None:
    """Compute once, with progress and a way to stop; then everything is only redrawn."""
    place = st.container()  # the overlay first, in sight without scrolling; how it is computed below it
    recipe = _recipe()
    with place:
        _explained(run_id, picture, recipe, predict)


def _explained(run_id: str, picture: "explaining.Picture", recipe: "explaining.Recipe", predict) -> None:
    key = (run_id, picture.digest, recipe)
    if not explaining.is_known(run_id, picture, recipe):
        if st.session_state.get("explain_stopped") == key:
            st.info("The explanation was stopped.", icon=":material/stop_circle:")
            st.button("Explain", type="primary", key="explain_again", on_click=_forget_stop)
            return
        _compute(run_id, picture, recipe, predict, key)
    explained = explaining.explanation(run_id, picture, recipe, predict)
    _do_what_was_asked(run_id, picture, recipe, predict, explained)
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
        samples = one.number_input(
            "Maskings", 100, 20_000, None, step=100, key="explain_samples", placeholder="as many as it needs",
            help="Left open: ten for each superpixel, at least 1,000.",
        )  # fmt: skip
        seed = two.number_input("Seed", 0, 2**31 - 1, 0, key="explain_seed")
        segmenter = one.selectbox(
            "Cut the image", list(explaining.SEGMENTERS), format_func=explaining.SEGMENTERS.get, key="explain_segmenter"
        )
        fill = two.selectbox(
            "Hide superpixels by", list(explaining.FILLS), format_func=explaining.FILLS.get, key="explain_fill"
        )
        settle = st.toggle(
            "Stop when settled", key="explain_settle",
            help="Quicker, a little less exact: ends when the ten heaviest superpixels have not changed for a while.",
        )  # fmt: skip
    return explaining.Recipe(None if samples is None else int(samples), int(seed), segmenter, fill, settle)


def _ask(work: str, run_id: str, picture, recipe, label: int) -> None:
    """Leave a piece of work to the page: only what the page does can be ended, a fragment runs to its end."""
    st.session_state[ASKED] = (run_id, picture.digest, recipe, work, label)
    st.rerun()


def _do_what_was_asked(run_id: str, picture, recipe, predict, explained) -> None:
    """The work that the overlay asked for, with its progress; any rerun of the page, as by *Stop*, ends it."""
    asked = st.session_state.pop(ASKED, None)
    if asked is None or asked[:3] != (run_id, picture.digest, recipe):
        return
    work, label = asked[3:]
    stop = st.empty()
    with frame.guard(), _bar(WORK[work]) as told:
        stop.button(
            "Stop", icon=":material/stop_circle:", key="explain_stop_work", on_click=_stop_work, args=(work,)
        )  # fmt: skip
        if work == "badge":
            explaining.badge(run_id, picture, recipe, label, predict, explained, progress=told)
        elif work == "sanity":
            explaining.sanity(run_id, picture, recipe, label, explained, ask=True, progress=told)
        else:
            explaining.second_opinion(run_id, picture, label, work, predict, progress=told)
    stop.empty()
    if work in SECOND and not explaining.second_is_known(run_id, picture, label, work):
        st.session_state[FAILED] = asked


@contextlib.contextmanager
def _bar(text: str):
    """A bar that is gone when the work is done; it is moved by calling what this gives with (done, total)."""
    place = st.empty()
    bar = place.progress(0.0, text=text)
    try:
        yield lambda done, total: bar.progress(done / total, text=f"{text}: {done:,} of {total:,}")
    finally:
        place.empty()


def _stop_work(work: str) -> None:
    """Take the choice back that would ask for the same work again."""
    if work in SECOND:
        st.session_state["explain_second"] = None


@st.fragment
@frame.guard()
def _overlay(run_id, picture, recipe, predict, explained) -> None:
    """The overlay with its sliders; moving one redraws, and computes nothing."""
    from visrec.explain.overlay import render_overlay

    labels, place = predict.labels, st.container()
    label = st.selectbox(
        "Why, or why not",
        range(len(labels)),
        index=explained.label,
        format_func=lambda i: f"{labels[i]} ({explained.prediction[i]:.3f})",
        key=f"explain_label_{picture.digest[:12]}_{run_id}",
    )
    look = _look(explained.n_segments)
    drawn = render_overlay(picture.shown, explained, label, **look)
    method = st.segmented_control(
        "Second opinion", list(SECOND), format_func=SECOND.get, key="explain_second",
        help="Another way of asking where the model looks, beside LIME's. Where both agree, the explanation is less "
        "likely to be the method's own invention.",
    )  # fmt: skip
    with place:
        seen = _draw(picture, explained, label, labels[label], drawn, look)
        if method:
            with seen:
                _second_opinion(run_id, picture, recipe, explained, label, method, predict, look["opacity"])
    verdict = st.container()  # drawn last: a failed check changes it
    sane = _show_sanity(run_id, picture, recipe, label, explained)
    with verdict:
        judged = _show_badge(run_id, picture, recipe, label, predict, explained, sane)
    chosen = dataclasses.replace(explained, label=label)  # weights, badge and check of one class: the one on the screen
    _downloads(run_id, picture, chosen, labels, judged, sane, drawn)


def _look(count: int) -> dict:
    """The sliders: how much of the explanation is painted, and how."""
    one, two = st.columns(2)
    top = one.slider("Superpixels", 1, count, min(10, count), key="explain_top") if count > 1 else 1
    opacity = two.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="explain_opacity")
    three, four = st.columns([3, 2])
    show = three.segmented_control(
        "Show", ["both", "supports", "opposes"], default="both", required=True, key="explain_show"
    )
    style = four.segmented_control("As", ["outline", "heat"], default="outline", required=True, key="explain_style")
    return {"top": top, "opacity": opacity, "show": show, "style": style}


def _draw(picture, explained, label: int, name: str, drawn, look: dict):
    """The overlay and its legend; returns the place beside it, empty until a second opinion is asked for."""
    from visrec.explain.overlay import heat_scale, render_scale, unmoved

    two = bool(st.session_state.get("explain_second"))
    left, right = st.columns(2) if two else (st.container(), st.container())
    with left:
        if two:
            st.markdown("**LIME**")
        st.image(drawn, width="stretch", alt=f"Superpixels that speak for and against {name}")
        if unmoved(explained, label):
            st.caption("Nothing is painted: the answer stayed the same, whatever was hidden.")
            return right
        if look["style"] == "heat":
            ends = heat_scale(explained, label)
            st.image(render_scale(256, 12, look["opacity"]), width="stretch", alt="The colours of the scale")
            st.caption(f"from −{ends:.3f} (opposes, left) over 0 to +{ends:.3f} (supports, right) of the score")
        st.caption(
            f":blue[■] supports **{widgets.escape(name)}** · :orange[▨] opposes it"
            f"{', dashed outline' if look['style'] == 'outline' else ''} · "
            f"{wording.count(explained.n_segments, 'superpixel')}, {explained.samples:,} maskings, "
            f"{sum(explained.seconds.values()):.1f} s"
        )
    return right


def _second_opinion(run_id, picture, recipe, explained, label: int, method: str, predict, opacity: float) -> None:
    """Another method's map of the same class, and how far it agrees with LIME."""
    from visrec.explain.second import METHODS

    st.markdown(f"**{SECOND[method]}**")
    if not explaining.second_is_known(run_id, picture, label, method):
        if st.session_state.get(FAILED) != (run_id, picture.digest, recipe, method, label):
            _ask(method, run_id, picture, recipe, label)
        st.caption(":material/help: It could not be had for this model; choose another.")
        return
    found = explaining.second_opinion(run_id, picture, label, method, predict)
    drawn = explaining.drawn_map(picture, found.values, opacity)
    st.image(drawn, width="stretch", alt=f"{SECOND[method]}: what speaks for and against {predict.labels[label]}")
    same, of, chance = explaining.agreement(explained.weights[label], found.values, explained.segments)
    st.caption(
        f"How: {METHODS[method]}. Of the {of} superpixels that speak most for the class, **{same}** are the same as "
        f"LIME's (about {chance:.1f} would be by chance). {found.seconds:.1f} s"
    )


def _downloads(run_id, picture, explained, labels, judged, sane, drawn) -> None:
    # as bytes, not as functions: a file made on the click is not found while the page still draws after a slider
    stem = widgets.file_stem(picture.name)
    with st.container(horizontal=True):
        st.download_button(
            "Download PNG", explaining.png(drawn), f"{stem}-overlay.png", "image/png",
            icon=":material/image:", key="explain_png", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Download JSON", explaining.as_json(run_id, picture, explained, labels, judged, sane),
            f"{stem}-explanation.json", "application/json",
            icon=":material/data_object:", key="explain_json", on_click="ignore",
        )  # fmt: skip


def _show_badge(run_id, picture, recipe, label: int, predict, explained, sane):
    """Whether the explanation can be believed: at once where that is quick, else when asked.

    What is shown holds the sanity check too; what is returned is the badge alone.
    """
    from visrec.explain.sanity import with_sanity

    if explained.too_few_samples:
        st.caption(
            f":material/info: {explained.samples:,} maskings are few for {explained.n_segments} superpixels; take "
            f"{10 * explained.n_segments:,} or more, under *How it is computed*."
        )
    expected = 2.3 * sum(explained.seconds.values())
    known = explaining.badge_is_known(run_id, picture, recipe, label)
    if not known and expected > QUICK:
        title = f"Can it be believed? (about {wording.duration(expected)})"
        if st.button(title, icon=":material/fact_check:", key="explain_judge"):
            _ask("badge", run_id, picture, recipe, label)
        return None
    with contextlib.nullcontext() if known else _bar(WORK["badge"]) as told:
        judged = explaining.badge(run_id, picture, recipe, label, predict, explained, progress=told)
    whole = with_sanity(judged, sane)
    colour, icon, sentence = BADGES[whole.verdict]
    st.markdown(f":{colour}-badge[{icon} {whole.verdict}] {sentence}")
    for reason in whole.reasons:
        st.markdown(f"- {widgets.escape(reason)}")
    return judged


def _show_sanity(run_id, picture, recipe, label: int, explained):
    """On request: does the map change when the model's weights are thrown away?"""
    if not cached.run(run_id).has("model.keras"):
        return None
    sane = explaining.sanity(run_id, picture, recipe, label, explained, ask=False)
    if sane is not None:
        mark = ":material/check_circle:" if sane.passed else ":material/block:"
        st.markdown(f"{mark} {widgets.escape(sane.sentence)}")
    elif st.button(
        "Is it learnt, or only the image?", icon=":material/shuffle:", key="explain_sanity", type="tertiary",
        help="Explains a copy of the model with its weights thrown away. A map that stays shows the image only.",
    ):  # fmt: skip
        _ask("sanity", run_id, picture, recipe, label)
    return sane
