"""The frame of every page: login, sidebar, head, and sentences instead of tracebacks.

A page begins with ``view = frame.open_page(title, question, needs="predictions")`` and ends where it likes;
a function that Streamlit runs on its own (``@st.fragment``) carries ``@frame.guard()`` below that decorator.
"""

import contextlib
import gc
import logging
import sys
import uuid
from collections.abc import Iterator

import streamlit as st

from visrec.errors import NotFoundError, OutsideError, VisrecError
from visrec.ui import cached, navigation, state, widgets, wording

log = logging.getLogger("visrec.ui")


@contextlib.contextmanager
def guard() -> Iterator[None]:
    """Show a fault as a sentence; also usable as a decorator, ``@guard()``.

    A `VisrecError` already is a sentence. Anything else is logged with its traceback under a short reference, and
    the page shows only the reference. Streamlit's own stop and rerun signals pass through.
    """
    try:
        yield
    except VisrecError as error:
        log.info("shown to the visitor: %s", error)
        st.error(str(error), icon=":material/error:")
        if isinstance(error, OutsideError) and st.button("Try again", icon=":material/refresh:", key="frame_again"):
            st.rerun()
    except ModuleNotFoundError as error:
        log.exception("a library is missing")
        st.error(wording.MISSING.format(library=error.name), icon=":material/extension_off:")
    except Exception:
        reference = uuid.uuid4().hex[:6]
        log.exception("fault %s on a page", reference)
        st.error(wording.FAULT.format(reference=reference), icon=":material/error:")


def auth_configured() -> bool:
    """Whether the secrets hold an ``[auth]`` section, so that pages ask for a login."""
    try:
        return bool(st.secrets.load_if_toml_exists()) and "auth" in st.secrets
    except FileNotFoundError:
        return False


def require_login() -> None:
    """Stop unless the visitor may see this page: the whole check, called by ``app.py`` and again by each page."""
    if not auth_configured() or st.user.get("is_logged_in"):
        return
    st.title("visrec")
    st.write(wording.LOGIN)
    st.button("Log in", type="primary", icon=":material/login:", on_click=st.login, key="frame_login")
    st.stop()


def open_page(title: str, question: str, *, needs: str = "nothing") -> "state.View | None":
    """Draw the head of a page and hand it what it is about.

    Parameters
    ----------
    title : the page's name, as in the navigation
    question : the one sentence that says which question the page answers
    needs : ``nothing``, ``run`` (any run in focus) or ``predictions`` (a run whose predictions can be read);
        what is missing becomes an empty state with its next action, and the page ends there

    Returns
    -------
    View or None
        The view with ``needs="predictions"``, else None (``state.focus()`` gives the run).
    """
    require_login()
    st.title(title, anchor=False)
    head, question = st.empty(), question if question.startswith("*") else f"**{question}**"
    head.markdown(question)
    if needs == "nothing":
        return None
    row = state.focus()
    if row is None:
        widgets.empty_state(wording.NO_RUN, wording.NO_RUN_NEXT, action="train", label="Train a first model")
        st.stop()
    if needs == "run":
        return None
    try:
        view = state.view()
    except NotFoundError as error:
        _no_predictions(row, error)
        st.stop()
    head.markdown(f"{question}\n\n:gray[:small[{widgets.strip(view)}]]")  # one element: each costs the browser 2 ms
    widgets.warn_of_training_rows(view)
    if view.where and view.rows.empty:
        widgets.empty_state(
            wording.NO_ROWS, wording.NO_ROWS_NEXT, on_click=state.clear_slice, label="Remove the filters"
        )
        st.stop()
    return view


def _no_predictions(row: "cached.RunRow", error: NotFoundError) -> None:
    text, label, page = wording.UNFINISHED.get(row.state, (str(error), "See all runs", "runs"))
    widgets.empty_state(f"Run {row.name}: {wording.STATES.get(row.state, row.state)}", text, action=page, label=label)


MANY_MODULES = 50
"""So many modules more make it worth another look."""
_loaded = 0


def settle() -> None:
    """Take what has been loaded so far out of the reach of Python's collector, whenever libraries have been added.

    Streamlit collects garbage after every run of a page, with the answer still on its way, and looked through all
    loaded libraries each time: a tenth of a second (docs/adr/0065).
    """
    global _loaded
    if len(sys.modules) - _loaded >= MANY_MODULES:
        _loaded = len(sys.modules)
        gc.collect()
        gc.freeze()


def go(page: str, *, run: str | None = None, **slices) -> None:
    """Lead to another page, keeping the run and the slice; ``slices`` as in `state.keep_slice`."""
    if run:
        state.set_focus(run)
    state.keep_slice(**slices)
    row = state.focus()
    st.switch_page(navigation.path_of(page), query_params={state.RUN: row.id} if row else {})


def sidebar(section: str) -> None:
    """The sidebar below the navigation: run in focus, slicers on Trust pages, and who may see this."""
    st.logo(widgets.logo(), size="large", icon_image=widgets.logo("mark"))
    with st.sidebar:
        rows = cached.run_list()
        if rows:
            _run_picker(rows)
        if section == "Trust":
            _slicers()
        _who_may_see()


def _run_picker(rows: list["cached.RunRow"]) -> None:
    if warning := state.unknown_run():
        st.session_state["_unknown_run"] = warning
    if warning := st.session_state.get("_unknown_run"):
        st.warning(warning, icon=":material/link_off:")
    row = state.focus()
    by_id = {r.id: r for r in rows}
    st.session_state["frame_run"] = row.id
    st.selectbox(
        "Run in focus",
        list(by_id),
        key="frame_run",
        format_func=lambda run_id: wording.run_line(by_id[run_id]) if run_id in by_id else run_id,
        on_change=_pick,
    )
    st.caption(wording.run_caption(row))
    if st.query_params.get(state.RUN) != row.id:
        st.query_params[state.RUN] = row.id


def _pick() -> None:
    st.session_state.pop("_unknown_run", None)
    state.set_focus(st.session_state["frame_run"])


def _slicers() -> None:
    row = state.focus()
    if row is None or not row.usable:
        return
    try:
        everything = cached.predictions(row.id)
    except NotFoundError:
        return
    state.restore_slice()
    st.subheader("Rows", anchor=False)
    names = state.splits(everything)
    if len(names) > 1:
        st.selectbox("Split", names, key=state.SPLIT, bind="query-params", help=wording.SPLIT_HELP)
    for attribute in state.attributes_of(row, everything):
        values = widgets.ordered(cached.values(row.id, attribute))
        st.multiselect(
            wording.nice(attribute),
            values,
            key=state.slice_key(attribute),
            bind="query-params",
            placeholder="all",
        )
    st.subheader("How to count", anchor=False)
    st.selectbox(
        "Outcome",
        [state.CORRECT, *row.labels],
        key=state.OUTCOME,
        bind="query-params",
        help=wording.OUTCOME_HELP,
    )
    st.number_input(
        "Minimum count",
        1,
        100_000,
        state.DEFAULT_MIN_COUNT,
        key=state.MIN_COUNT,
        bind="query-params",
        help=wording.MIN_COUNT_HELP,
    )


def _who_may_see() -> None:
    if not auth_configured():
        st.caption(f":material/lock_open: {wording.OPEN_TO_ALL}")
        return
    st.caption(f":material/lock: Logged in as {st.user.get('email') or st.user.get('name') or 'a known user'}.")
    st.button("Log out", type="tertiary", on_click=st.logout, key="frame_logout")
