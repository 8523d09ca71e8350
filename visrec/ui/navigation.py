"""Which pages there are, in which section of the sidebar; the only list of pages.

A page file that is not there (yet) is left out, so a section appears with its first page.
"""

from functools import cache
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]

PAGES = {
    "Data": [
        ("bucket", "Bucket", ":material/photo_library:"),
        ("predictions", "Your own predictions", ":material/upload_file:"),
    ],
    "Build": [("train", "Train", ":material/model_training:"), ("runs", "Runs", ":material/history:")],
    "Trust": [
        ("overview", "Overview", ":material/dashboard:"),
        ("confusion", "Confusion matrices", ":material/grid_on:"),
        ("fairness", "Metrics", ":material/balance:"),
        ("explain", "Explain", ":material/center_focus_strong:"),
        ("atlas", "Atlas", ":material/layers:"),
        ("robustness", "Robustness", ":material/shield:"),
        ("mitigation", "Mitigation", ":material/tune:"),
    ],
    "Ship": [("report", "Report", ":material/description:"), ("deploy", "Deploy", ":material/rocket_launch:")],
}


def path_of(name: str) -> str:
    """Path of a page file relative to ``app.py``, as ``st.switch_page`` and ``st.page_link`` take it.

    >>> path_of("train")
    'pages/build/train.py'
    """
    for section, pages in PAGES.items():
        if name in [page for page, _, _ in pages]:
            return f"pages/{section.lower()}/{name}.py"
    raise KeyError(name)


@cache
def exists(name: str) -> bool:
    """Whether the page's file is there; looked up once, since a page asks for all of them each time."""
    return (ROOT / path_of(name)).is_file()


def build():
    """Tell Streamlit the pages; returns the one to run.

    ``/`` is a page of its own that leads to the right start, so that each real page keeps its address.
    """
    sections = {
        section: [
            st.Page(path_of(name), title=title, icon=icon, url_path=name) for name, title, icon in pages if exists(name)
        ]
        for section, pages in PAGES.items()
    }
    sections = {section: pages for section, pages in sections.items() if pages}
    start = st.Page(_start, title="visrec", default=True, visibility="hidden")
    return st.navigation({"": [start], **sections}, expanded=True)


def section_of(page) -> str:
    """Section of a page object that `build` returned; "" for the start page."""
    return next(
        (section for section, pages in PAGES.items() if page.url_path in [name for name, _, _ in pages]),
        "",
    )


def _start() -> None:
    from visrec.ui import frame, state

    run = state.focus()
    frame.go("overview" if run is not None and run.state == "done" and exists("overview") else "bucket")
