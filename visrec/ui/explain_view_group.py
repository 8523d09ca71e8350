"""The Explain page's group: how often the model is right for the group that the visitor says an image belongs to.

The group is never guessed from the image. Its accuracy is the audit's own figure, on rows that nothing was chosen on.
"""

import dataclasses

import pandas as pd
import streamlit as st

from visrec.errors import InputError, NotFoundError
from visrec.ui import audit_view, cached, explaining, frame, state, widgets, wording

MOST = 6
"""Attributes offered at most."""


@st.fragment
@frame.guard()
def show(picture: "explaining.Picture") -> None:
    """Let the visitor name a group, and say how the model fares there, beside how it fares overall."""
    try:
        view = honest_view()
    except NotFoundError:
        return
    attributes = view.attributes[:MOST]
    if not attributes:
        return
    st.markdown("**How often is it right for such images?**")
    st.caption("Say which group the image belongs to, as far as you know; nothing is guessed from the image.")
    row = picture.row
    if row is not None:
        st.button(
            "As this image is labelled", key="explain_group_labelled", type="tertiary", icon=":material/label:",
            on_click=_fill, args=({name: str(row[name]) for name in attributes if pd.notna(row.get(name))},),
        )  # fmt: skip
    chosen = {}
    with st.container(horizontal=True, gap="small"):
        for name in attributes:
            values = widgets.ordered(view.predictions[name].dropna().astype(str).unique())
            with st.container(width=150):
                value = st.selectbox(wording.nice(name), values, index=None, placeholder="any", key=_key(name))
            if value is not None:
                chosen[name] = [value]
    _say(view, chosen)


def honest_view() -> "state.View":
    """Every row of the run's test or val split, whatever the sidebar filters; counted by *correct*."""
    view = state.view()
    everything = cached.predictions(view.run.id)
    names = state.splits(everything)
    split = names[0] if names else ""
    rows = everything[everything["split"].astype(str) == split] if split else everything
    return dataclasses.replace(view, predictions=rows, split=split, where={}, outcome=state.CORRECT)


def accuracy(view: "state.View", where: dict[str, list[str]]) -> dict[str, float]:
    """The audit's accuracy of one group: value, low, high, n; NaN and 0 where it has no row."""
    named = dataclasses.replace(view, where=where)
    try:
        found = audit_view.audit_of(named, (), outcome=state.CORRECT).overall.iloc[0]
    except InputError:  # nobody in this group
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    names = {"value": "accuracy", "low": "accuracy_low", "high": "accuracy_high", "n": "accuracy_n"}
    return {key: float(found[column]) for key, column in names.items()}


def _say(view: "state.View", where: dict[str, list[str]]) -> None:
    whole, group = accuracy(view, {}), accuracy(view, where)
    known = group["n"] >= view.min_count
    value = wording.number(group["value"]) if known else "unknown"
    name = wording.filters(where) or "all images"
    st.metric(f"Accuracy: {name}", f"{value}, n = {int(group['n']):,}")
    split = f" of split {widgets.escape(view.split)}" if view.split else ""
    if not known:
        st.caption(
            f"Fewer than {view.min_count} images{split} are in this group, too few to say. "
            f"Over all images: {_in_words(whole)}."
        )
    elif where:
        st.caption(f"95 % interval {wording.interval(group)}, rows{split}. Over all images: {_in_words(whole)}.")
    else:
        st.caption(f"95 % interval {wording.interval(group)}, rows{split}.")


def _in_words(rate: dict[str, float]) -> str:
    return f"{wording.number(rate['value'])} ({wording.interval(rate)}, n = {int(rate['n']):,})"


def _key(attribute: str) -> str:
    return f"explain_group_{attribute}"


def _fill(values: dict[str, str]) -> None:
    for name, value in values.items():
        st.session_state[_key(name)] = value
