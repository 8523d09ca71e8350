"""The Atlas page's work: choosing the groups, starting the job, following it, stopping it.

The job is a process of its own, as a training is: it goes on when the page is closed, and any browser can follow it.
"""

import time
from collections.abc import Iterable

import pandas as pd
import streamlit as st

from visrec.audit.splits import judged_split
from visrec.errors import NotFoundError, VisrecError
from visrec.runs.status import ACTIVE, Status
from visrec.ui import cached, explaining, frame, widgets, wording

BY = "atlas_by"
"""Query parameter, and widget key, of the attributes whose values are compared."""
MOST_BY = 2
PER_CELL = 60
STAGES = {"read": "Reading images", "explain": "Explaining images", "compare": "Comparing the groups"}
SAYINGS = {
    "failed": (st.error, ":material/error:", "The last attempt failed: {why}"),
    "lost": (st.warning, ":material/signal_disconnected:", "The last attempt fell silent; start it again."),
    "cancelled": (st.info, ":material/cancel:", "The last attempt was cancelled; nothing of it was kept."),
}


def choose_by(run, attributes: tuple[str, ...]) -> list[str]:
    """Let the visitor choose what is compared; kept in the URL. Without a choice, what the run watched first."""
    if BY in st.session_state:  # another run may have other attributes
        st.session_state[BY] = [name for name in st.session_state[BY] if name in attributes][:MOST_BY]
    watched = [name for name in run.record.get("by") or () if name in attributes] or list(attributes)
    chosen = st.multiselect(
        "Compare the groups by", attributes, default=None if BY in st.session_state else _made_first(run, watched),
        key=BY, bind="query-params", max_selections=MOST_BY,
        help="One attribute, or two: then each combination of their values is a group, and needs images of its own.",
    )  # fmt: skip
    return chosen or watched[:1]


def _made_first(run, watched: list[str]) -> list[str]:
    """An atlas that is there already, else the first attribute that the run watched."""
    from visrec.explain.atlas import kept_atlases

    return next((by for by in kept_atlases(run) if set(by) <= set(watched)), watched[:1])


def status_of(run, by: list[str]) -> Status | None:
    """How far the job is, None when there never was one."""
    from visrec.explain.atlas_job import job_of

    job = job_of(run, by)
    return job.status() if job.store.exists("status.json") else None


def atlas_of(run, by: list[str]):
    """The atlas that the run keeps for these attributes, None when there is none."""
    try:
        status = status_of(run, by)
        made = "" if status is None else str(status.finished_at)
        return _atlas(cached.settings().runs, run.id, tuple(by), made)
    except NotFoundError:  # raised, so that "there is none" is not what the cache remembers
        return None


@st.cache_resource(max_entries=6, show_spinner="Reading the atlas")
def _atlas(url: str, run_id: str, by: tuple[str, ...], made: str):
    from visrec.explain.atlas import load_atlas

    return load_atlas(cached.run(run_id), list(by))


def say_how_it_ended(status: Status | None) -> None:
    """A sentence about an attempt that came to nothing; the button to start again stands below."""
    if status is None or status.state not in SAYINGS:
        return
    draw, icon, sentence = SAYINGS[status.state]
    draw(sentence.format(why=widgets.escape(status.error or status.message)), icon=icon)


def offer(run, by: list[str], rows: pd.DataFrame, *, again: bool = False) -> None:
    """The form that starts the job: how many images, about how long, and the button."""
    from visrec.explain.atlas import pick_rows

    with st.container(border=not again):
        if not again:
            st.subheader(f"No atlas by {_names(by)} yet", anchor=False)
            st.write(
                "An atlas explains a sample of images of every group by LIME on one grid, averages the maps of each "
                "group, and tests whether they differ by more than chance. It is made in the background."
            )
        per_cell = st.number_input(
            "Images per group at most", 10, 1000, PER_CELL, step=10, key="atlas_images", width=240,
            help="More images see smaller differences and take longer.",
        )  # fmt: skip
        split = judged_split(rows["split"])
        chosen = pick_rows(rows, by, split=split, per_cell=int(per_cell))
        groups = chosen.groupby(by, observed=True).ngroups
        seconds = wording.duration(estimate(run, len(chosen), groups))
        st.caption(
            f"{wording.count(len(chosen), 'image')} of split {widgets.escape(split)} in "
            f"{wording.count(groups, 'group')}: about {seconds} on this machine. "
            "The filters in the sidebar do not apply here."
        )
        st.button(
            "Make it anew" if again else "Make the atlas", type="secondary" if again else "primary",
            icon=":material/layers:", key="atlas_start", on_click=_start, args=(run.id, tuple(by)),
        )  # fmt: skip
    _show_refusal()


def _names(by: Iterable[str]) -> str:
    """The attributes in words, safe inside Markdown."""
    return widgets.escape(" and ".join(map(wording.nice, by)).lower())


def estimate(run, images: int, groups: int) -> float:
    """Seconds that an atlas will take: two seeds of ten maskings per square of each image, then the comparison."""
    from visrec.explain.atlas import GRID
    from visrec.explain.compare import seconds_to_compare

    one, squares = explaining.seconds_per_image(run.id, cached.predictor(run.id)), GRID * GRID
    return 12 + images * (explaining.READING + 20 * squares * one) + seconds_to_compare(groups, images, squares)


def _start(run_id: str, by: tuple[str, ...]) -> None:
    from visrec.explain import atlas_job

    per_cell = int(st.session_state["atlas_images"])  # as it is now, not as it was when the button was drawn
    try:
        atlas_job.start(cached.run(run_id), cached.settings(), list(by), per_cell=per_cell)
    except VisrecError as error:  # a callback runs before the page is drawn: kept, and shown on it
        st.session_state["atlas_refused"] = str(error)


def _cancel(run_id: str, by: tuple[str, ...]) -> None:
    from visrec.explain.atlas_job import job_of
    from visrec.runs import jobs

    try:
        jobs.cancel(job_of(cached.run(run_id), list(by)))
    except VisrecError as error:
        st.session_state["atlas_refused"] = str(error)


def _show_refusal() -> None:
    if message := st.session_state.pop("atlas_refused", None):
        st.error(widgets.escape(message), icon=":material/error:")


@st.fragment(run_every="2s")
@frame.guard()
def follow(run_id: str, by: tuple[str, ...]) -> None:
    """The job's progress, drawn anew every two seconds until it has ended; then the whole page is drawn once more."""
    status = status_of(cached.run(run_id), list(by))
    if status is None or status.state not in ACTIVE:
        st.rerun()
    with st.container(border=True):
        st.subheader(f"Making the atlas by {_names(by)}", anchor=False)
        st.progress(min(1.0, max(0.0, status.progress)), text=progress_line(status))
        elapsed = f" Running for {wording.duration(time.time() - status.started)}." if status.started else ""
        st.caption(f"It goes on when you close this page; any browser can follow it under this address.{elapsed}")
        if status.state != "cancelling":
            st.button("Cancel", icon=":material/stop_circle:", key="atlas_cancel", on_click=_cancel, args=(run_id, by))
    _show_refusal()


def progress_line(status: Status) -> str:
    """What is happening, how far it is, and for how long still.

    >>> progress_line(Status("running", stage="explain", stage_progress=0.5, stage_left=90.0))
    'Explaining images · 50% · about 1 min 30 s left'
    """
    if status.state == "queued":
        return status.message or "Starting."
    name = STAGES.get(status.stage, "Starting")
    known = (status.stage_left or 0) >= 2 and status.stage_progress >= 0.03
    left = f" · about {wording.duration(status.stage_left)} left" if known else ""
    stopping = " · stopping" if status.state == "cancelling" else ""
    return f"{name} · {status.stage_progress:.0%}{left}{stopping}"
