"""Small pieces that several pages draw: the strip under a title, empty states, charts, tables with their download."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from visrec.ui import charts, wording
from visrec.ui.charts_rows import Rows

_AGE = re.compile(r"\d+")


def logo(kind: str = "full") -> Path:
    """Path of the wordmark (``full``) or of the eye alone (``mark``)."""
    return Path(__file__).parent / "assets" / ("logo.svg" if kind == "full" else "mark.svg")


def strip(view) -> str:
    """One line of Markdown: run, rows used of rows there are, filters on."""
    used, total = len(view.rows), view.total
    rows = wording.count(total, "row") if used == total else f"{used:,} of {wording.count(total, 'row')}"
    parts = [
        f":material/model_training: {escape(view.run.name)}",
        f":material/table_rows: {rows}" + (f" of split {escape(view.split)}" if view.split else ""),
        f":material/filter_alt: {escape(wording.filters(view.where))}" if view.where else "no filter",
    ]
    return " · ".join(parts)


def warn_of_training_rows(view) -> None:
    """A warning where the rows looked at are those the model learned from."""
    if view.split == "train":
        st.warning(
            "These are rows the model was trained on: they flatter it. Choose val or test for an honest audit.",
            icon=":material/warning:",
        )


def figures(items: Iterable[tuple[str, str, str]]) -> None:
    """A row of figures, each (label, value, sentence of help); on a narrow screen two stand side by side."""
    with st.container(horizontal=True, gap="small"):
        for label, value, help_text in items:
            with st.container(width=176):
                st.metric(label, value, help=help_text, border=True)


def chart(figure: go.Figure | Rows, *, key: str, **options):
    """Draw a chart in the page's theme; returns what Streamlit does, a selection where ``on_select`` asks for one."""
    if isinstance(figure, Rows):
        with st.container(key=key):
            return st.html(figure)
    theme = charts.THEMES.get(st.context.theme.type or "", charts.UNKNOWN_THEME)
    return st.plotly_chart(
        charts.themed(figure, theme), theme=None, key=key, config={"displayModeBar": False}, **options
    )


def empty_state(
    title: str,
    text: str,
    *,
    action: str | None = None,
    label: str | None = None,
    on_click: Callable[[], None] | None = None,
) -> None:
    """A page without content is a page too: what is missing, and the one button that leads on.

    ``action`` names the page that the button leads to; ``on_click`` is called instead when given.
    """
    from visrec.ui import frame

    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.write(text)
        if label and on_click:
            st.button(label, type="primary", on_click=on_click, key=f"empty_{label}")
        elif label and action and st.button(label, type="primary", icon=":material/arrow_forward:", key=f"to_{action}"):
            frame.go(action)


def table(frame: pd.DataFrame, name: str, *, label: str = "Numbers as a table", expanded: bool = False, **options):
    """A table under an expander with its CSV download: every chart owes its reader one.

    ``options`` go to ``st.dataframe`` (``column_config``, ``hide_index``, ...).
    """
    with st.expander(label, expanded=expanded, icon=":material/table:"):
        st.dataframe(frame, **{"hide_index": True, "width": "stretch", "alt": label, **options})
        download_csv(frame, name)


def download_csv(frame: pd.DataFrame, name: str) -> None:
    """A button that downloads the frame as CSV; the text is made only when it is pressed."""
    st.download_button(
        "Download CSV",
        data=lambda: frame.to_csv(index=False).encode(),
        file_name=f"{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        key=f"csv_{name}",
        on_click="ignore",
    )


def escape(text: str) -> str:
    r"""Text from a bucket or a run, safe inside Markdown.

    >>> escape("a_b [x]")
    'a\\_b \\[x\\]'
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~:])", r"\\\1", str(text))


def file_stem(name: str) -> str:
    """A file name's stem, safe as part of a download's name.

    >>> file_stem("val/a b.jpg")
    'a-b'
    """
    return re.sub(r"[^\w.-]+", "-", Path(name).stem).strip("-") or "image"


def ordered(values: Iterable[str]) -> list[str]:
    """Values as a reader expects them: ages and numbers by their first number, the rest by name.

    >>> ordered(["more than 70", "10-19", "3-9", "0-2"])
    ['0-2', '3-9', '10-19', 'more than 70']
    >>> ordered(["b", "a"])
    ['a', 'b']
    """
    values = [str(value) for value in values]
    if values and all(_AGE.search(value) for value in values):
        return sorted(values, key=lambda v: (int(_AGE.search(v).group()), v))
    return sorted(values)
