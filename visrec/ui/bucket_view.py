"""What a bucket holds, counted and drawn: tables for the Bucket page, and its thumbnails.

Everything here takes a `BucketTable` or a plain sample table; nothing is read from the store but thumbnails.
"""

import io

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from visrec.ui import buckets, cached, charts, widgets, wording

SEVERITY_ICONS = {"error": ":material/error:", "warning": ":material/warning:", "info": ":material/info:"}
SEVERITY_COLOURS = {"error": "red", "warning": "orange", "info": "gray"}
EXAMINE_HELP = (
    "Reads the whole bucket once: damaged files, exact and near duplicates, the same image in two splits, images that "
    "are all one colour, and more."
)
FEW = 30
THUMBNAIL = 112
"""Side of a thumbnail in pixels; drawn at most this large."""


def label_counts(samples: pd.DataFrame, target: str, attribute: str) -> pd.DataFrame:
    """Images by value of ``attribute`` (rows) and ``target`` (columns), with their sum.

    Unknown values are a row and a column of their own, named ``unknown``.

    >>> frame = pd.DataFrame({"g": ["F", "M", "F"], "a": ["3-9", "3-9", "10-19"]})
    >>> label_counts(frame, "g", "a").to_dict("list")
    {'F': [1, 1], 'M': [1, 0], 'all': [2, 1]}
    """
    table = pd.crosstab(_known(samples[attribute]), _known(samples[target]))
    table = table.loc[widgets.ordered(table.index), widgets.ordered(table.columns)]
    table.columns = buckets.column_names(table.columns, ("all", attribute))
    return table.assign(all=table.sum(axis=1)).rename_axis(attribute)


def cell_counts(samples: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Images by two attributes, 0 where there are none."""
    table = pd.crosstab(_known(samples[rows]), _known(samples[columns]))
    table = table.loc[widgets.ordered(table.index), widgets.ordered(table.columns)]
    return table.set_axis(buckets.column_names(table.columns, (rows,)), axis=1)


def _known(values: pd.Series) -> pd.Series:
    return values.astype("object").where(values.notna(), "unknown").astype(str)


def label_bars(counts: pd.DataFrame) -> go.Figure:
    """One bar per attribute value, split by label; direct labels, no axis to read off."""
    figure = charts.blank(90 + 30 * len(counts), margin={"t": 34, "b": 40})
    for position, label in enumerate(counts.columns.drop("all")):
        figure.add_bar(
            y=list(map(charts.escape, counts.index)), x=counts[label], name=charts.escape(label), orientation="h",
            marker={"color": charts.SERIES[position % len(charts.SERIES)]}, insidetextfont={"color": "white"},
            text=[f"{n:,}" for n in counts[label]], textposition="inside", insidetextanchor="middle",
            hovertemplate=f"%{{y}}, {charts.escape(label)}: %{{x:,}} images<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", bargap=0.25, showlegend=True, uniformtext={"minsize": 10, "mode": "hide"},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", title=None, automargin=True)
    figure.update_xaxes(title="images", showgrid=False)
    return figure


def cell_map(counts: pd.DataFrame) -> go.Figure:
    """Counts of two attributes crossed; a cell with too few images to judge is marked, not only shaded."""
    values = counts.to_numpy(dtype=float)
    text = [[f"{int(n):,}" + (" ▵" if 0 < n < FEW else "") if n else "·" for n in row] for row in values]
    scale = np.log10(np.where(values > 0, values, np.nan))
    figure = charts.blank(110 + 34 * len(counts), margin={"t": 8, "b": 8})
    figure.add_trace(
        go.Heatmap(
            z=scale, x=list(map(charts.escape, counts.columns)), y=list(map(charts.escape, counts.index)),
            text=text, texttemplate="%{text}", customdata=values,
            hovertemplate="%{y}, %{x}: %{customdata:,.0f} images<extra></extra>",
            colorscale=charts.SEQUENTIAL, showscale=False, xgap=2, ygap=2,
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category", automargin=True, showgrid=False)
    figure.update_xaxes(type="category", side="top", automargin=True, showgrid=False)
    return figure


def cell_marks(counts: pd.DataFrame) -> str:
    """What the marks in `cell_map` mean, those that occur in it.

    >>> cell_marks(pd.DataFrame({"a": [40, 50]})), cell_marks(pd.DataFrame({"a": [40, 0]}))
    ('', '· marks a group without images.')
    """
    values = counts.to_numpy()
    few, none = ((values > 0) & (values < FEW)).any(), (values == 0).any()
    said = (f"▵ marks fewer than {FEW} images, too few to say much about a group.", "· marks a group without images.")
    return " ".join(text for text, there in zip(said, (few, none), strict=True) if there)


def examine(url: str, table) -> None:
    """The problems: those of the labels at once, those of the images when every one has been looked at."""
    found = cached.inspection(url)
    if found is None:
        show_problems(url, table.problems, table.decisions, "in the labels")
        if st.button("Look at every image", icon=":material/search:", key="bucket_examine", help=EXAMINE_HELP):
            bar = st.progress(0.0, text="Looking at the images")
            cached.inspect_bucket(
                url, lambda done, total: bar.progress(done / max(1, total), text=f"{done:,} of {total:,} images")
            )
            st.rerun()
        return
    show_problems(url, found.problems, found.decisions, f"in the labels and {wording.count(len(found.facts), 'image')}")


def show_problems(url: str, problems: list, decisions: dict, where: str) -> None:
    """Every problem as one line that opens: what it means, what to do, examples, and what may be decided."""
    if not problems:
        st.success(f"No problem found {where}.", icon=":material/check_circle:")
    for problem in problems:
        title = wording.nice(problem.kind)
        badge = f":{SEVERITY_COLOURS[problem.severity]}-badge[{problem.severity}]"
        with st.expander(f"{title}: {problem.count:,} {badge}", icon=SEVERITY_ICONS[problem.severity]):
            st.write(widgets.escape(problem.advice))
            for example in problem.examples:
                st.markdown(f"- {widgets.escape(example)}")
            if problem.count > len(problem.examples):
                st.caption(f"and {problem.count - len(problem.examples):,} more")
            if problem.choices:
                _decision(url, problem, decisions.get(problem.kind, problem.choices[0]))


def _decision(url: str, problem, in_force: str) -> None:
    key = f"decide_{problem.kind}_{url}"
    st.session_state[key] = in_force  # the choice that is kept, also where the command line took it
    st.segmented_control(
        "What training does about it",
        problem.choices,
        format_func=wording.nice,
        required=True,
        key=key,
        on_change=lambda: cached.decide(url, problem.kind, st.session_state[key]),
        help="Kept for this bucket; the bucket itself is never changed.",
    )


def thumbnails(url: str, keys: list[str]) -> dict[str, bytes | None]:
    """Small JPEGs of some images, read side by side; None for one that cannot be read."""
    place = (url, *cached.reach_of(url))
    known = {key: data for key in keys if (data := _thumbnail_memory().get((*place, key), "")) != ""}
    missing = [key for key in keys if key not in known]
    if missing:
        from visrec.storage.buckets import open_bucket

        store = open_bucket(url, cached.settings())
        for key, data in store.read_many(missing):
            known[key] = None if isinstance(data, Exception) else _shrink(data)
            _remember((*place, key), known[key])
    return known


@st.cache_resource(ttl=600)
def _thumbnail_memory() -> dict:
    return {}


def _remember(key: tuple[str | None, ...], data: bytes | None, limit: int = 2000) -> None:
    memory = _thumbnail_memory()
    while len(memory) >= limit:
        memory.pop(next(iter(memory)), None)
    memory[key] = data


def _shrink(data: bytes) -> bytes | None:
    from PIL import Image

    from visrec.data.images import open_image
    from visrec.errors import InputError

    try:
        image = open_image(data, 2 * THUMBNAIL)
    except InputError:
        return None
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def wall(url: str, samples: pd.DataFrame, captions: pd.Series, *, width: int = THUMBNAIL) -> None:
    """A wall of thumbnails; ``captions`` holds the words under each, by the index of ``samples``."""
    images = thumbnails(url, list(samples["file"]))
    with st.container(horizontal=True, gap="small"):
        for index, key in samples["file"].items():
            caption = str(captions[index])
            if images.get(key) is None:
                st.caption(f":material/broken_image: {widgets.escape(key)} cannot be read", width=width)
            else:
                st.image(images[key], caption=widgets.escape(caption), width=width, alt=f"{caption}: {key}")
