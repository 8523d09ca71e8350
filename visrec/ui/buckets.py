"""Choosing a bucket and what to predict, as the Bucket and the Train page both do."""

from collections.abc import Iterable

import pandas as pd
import streamlit as st

from visrec.errors import VisrecError, nearest
from visrec.ui import cached, frame, widgets, wording

LAYOUTS = {
    "fairface": "FairFace label files",
    "label_table": "a label table (CSV)",
    "cloud_annotations": "Cloud Annotations",
    "class_folders": "one folder per class",
}
SPLIT_WORDS = {
    "train": "train: the model learns from these",
    "tune": "tune: training decides by these when to stop",
    "val": "val: judged at the end, never learned from",
    "test": "test: judged at the end, never learned from",
}


def choose(key: str, label: str = "Bucket"):
    """The bucket that the visitor looks at, kept in the URL as ``bucket``; the page ends here when there is none."""
    found = cached.buckets()
    for fault in cached.bucket_faults():
        st.warning(widgets.escape(fault), icon=":material/cloud_off:")
    if not found:
        _no_bucket()
        st.stop()
    names = [bucket.name for bucket in found]
    wanted = st.session_state.get(key) or st.query_params.get(key)
    if wanted and wanted not in names:
        sentence = f"There is no bucket named '{wanted}' here. {nearest(wanted, names)}"
        st.warning(widgets.escape(sentence), icon=":material/link_off:")
    # not bound to the URL by Streamlit, which would leave the first bucket out: a sent link must name its bucket
    st.session_state[key] = wanted if wanted in names else names[0]
    name = st.selectbox(label, names, key=key)
    if st.query_params.get(key) != name:
        st.query_params[key] = name
    return next(bucket for bucket in found if bucket.name == name)


def _no_bucket() -> None:
    folders = ", ".join(str(folder.absolute()) for folder in cached.settings().buckets)
    widgets.empty_state(
        "No bucket yet",
        f"A bucket is a folder with images and their labels below {widgets.escape(folders)}, or an S3 bucket named by "
        "the variables BUCKET, ACCESS_KEY_ID, SECRET_ACCESS_KEY and ENDPOINT_URL or by a [cos.NAME] "
        "table of the dashboard's secrets. To try everything at once, let two small buckets of drawn images be made; "
        "that takes a few seconds.",
        on_click=_make_demo,
        label="Make the demo buckets",
    )


def _make_demo() -> None:
    from visrec.data.demo import make_demo_buckets

    with frame.guard():
        make_demo_buckets(cached.settings().buckets[0])
    cached.forget_buckets()


def choose_target(table, key: str, label: str = "What to predict") -> str:
    """The column to predict; the bucket's own default first. Raises nothing: a table without targets ends the page."""
    if not table.targets:
        widgets.empty_state(
            "Nothing to predict",
            "No label column of this bucket has two values or more, so there are no two classes to tell apart.",
        )
        st.stop()
    default = table.target if table.target in table.targets else table.targets[0]
    return st.selectbox(
        label, table.targets, index=table.targets.index(default), format_func=wording.nice, key=f"{key}_{table.url}"
    )


def headline(table, problems: list) -> list[tuple[str, str, str]]:
    """Four figures: labelled images, images without label, columns, problems; each with a sentence of help."""
    unlabelled = len(set(table.images) - set(table.samples["file"]))
    columns = widgets.escape(", ".join(map(wording.nice, table.attributes)))
    grave = sum(problem.severity == "error" for problem in problems)
    kinds = f"{len(problems)}" + (f" ({grave} grave)" if grave else "")
    return [
        ("Labelled images", wording.count(len(table.samples)), "Images that are there and have a label."),
        ("Without a label", wording.count(unlabelled), "Images that are there but take no part in training."),
        ("Attributes", str(len(table.attributes)), "Label columns: " + columns),
        ("Kinds of problems", kinds, "What was found so far in labels and images; see below."),
    ]


def show_split(table, target: str, by: tuple[str, ...] = (), seed: int = 0) -> None:
    """A table of what each split will hold, and a sentence on where it comes from."""
    try:
        counts = split_counts(table.url, cached.bucket_reading(table.url), target, by, seed)
    except VisrecError as error:
        st.warning(widgets.escape(str(error)), icon=":material/warning:")
        return
    st.dataframe(
        counts,
        hide_index=True,
        width="stretch",
        alt="Images by split and label",
        column_config={name: st.column_config.NumberColumn(format="localized") for name in counts.columns[1:]},
    )
    own = sorted(set(table.samples["split"]) & {"val", "test"})
    if own:
        st.caption(
            f"The bucket brings its own {' and '.join(own)} images; a tenth of train is set aside as tune. "
            "Images with the same bytes stay together."
        )
    else:
        st.caption(
            "The bucket has no validation images, so a fifth is set aside, label proportions kept; a tenth of the rest "
            "becomes tune. The same seed gives the same split."
        )


def column_names(labels: Iterable[object], taken: Iterable[str]) -> list[str]:
    """Labels as names of columns; one that is the name of another column of the table says that it is a label.

    >>> column_names(["images", "masks"], ("split", "images"))
    ['images (label)', 'masks']
    """
    labels = [str(label) for label in labels]
    used = {*taken, *labels}
    for position, label in enumerate(labels):
        if label in taken:
            while label in used:
                label += " (label)"
            used.add(label)
            labels[position] = label
    return labels


@st.cache_data(ttl=300, max_entries=16, show_spinner=False)
def split_counts(url: str, reading: str, target: str, by: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Images by split (rows, with what it is for) and label (columns)."""
    from visrec.data.split import assign_splits

    samples = assign_splits(cached.bucket_table(url), target, by, seed)
    counts = pd.crosstab(samples["split"], samples["label"])
    counts = counts.loc[[name for name in SPLIT_WORDS if name in counts.index], widgets.ordered(counts.columns)]
    counts.columns = column_names(counts.columns, ("split", "images"))
    counts.insert(0, "images", counts.sum(axis=1))
    counts.insert(0, "split", [SPLIT_WORDS[name] for name in counts.index])
    return counts.reset_index(drop=True)
