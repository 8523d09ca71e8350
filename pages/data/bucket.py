"""Bucket: what is in a bucket, who is in it, and what is wrong with it."""

import pandas as pd
import streamlit as st

from visrec.ui import (
    bucket_view,
    bucket_view_connection,
    bucket_view_fit,
    bucket_view_labels,
    buckets,
    cached,
    frame,
    widgets,
    wording,
)

PER_PAGE = 24

frame.open_page("Bucket", "What is in here, and can it be trusted?")
bucket_view_connection.draw("bucket")
bucket = buckets.choose("bucket")
table = cached.bucket_table(bucket.url)
samples = table.samples
mixed = samples.sample(frac=1, random_state=0)  # buckets are often sorted by class
default_fit = table.defaults.get("fit", "stretch")

head, action = st.columns([3, 1], vertical_alignment="bottom")
head.caption(
    f"{widgets.escape(bucket.url)} · layout: {buckets.LAYOUTS.get(table.layout, table.layout)} · "
    f"{wording.count(len(table.objects), 'object')}"
)
if action.button(
    "Train on this", type="primary", icon=":material/model_training:", key="bucket_train", width="stretch"
):
    if (fit := bucket_view_fit.chosen(default_fit)) != default_fit:
        st.session_state["train_fit"] = fit
    frame.go("train", bucket=bucket.name)

examined = cached.inspection(bucket.url)
widgets.figures(buckets.headline(table, examined.problems if examined else table.problems))

st.subheader("Who is in it", anchor=False)
target = buckets.choose_target(table, "bucket_target")
others = [name for name in table.attributes if name != target]
left, right = st.columns([3, 2], gap="large")
with left:
    if others:
        attribute = st.segmented_control(
            "By", others, default=others[0], required=True, format_func=wording.nice, key="bucket_by"
        )
        counts = bucket_view.label_counts(samples, target, attribute)
        widgets.chart(
            bucket_view.label_bars(counts), key="bucket_bars", alt=f"Images by {attribute}, split by {target}"
        )
        widgets.table(counts.reset_index(), f"{bucket.name}-{attribute}-{target}")
    else:
        counts = samples[target].value_counts().rename_axis(target).rename("images").reset_index()
        st.dataframe(counts, hide_index=True, alt=f"Images by {target}")
        st.caption("The labels hold no attribute besides the class, so nothing can be compared between groups.")
with right:
    st.markdown("**What is wrong with it**")
    bucket_view.examine(bucket.url, table)
    if table.repairs:
        with st.expander("Mended while reading", icon=":material/healing:"):
            for repair in table.repairs:
                st.markdown(f"- {widgets.escape(repair)}")

if len(others) > 1:
    st.subheader("Groups crossed", anchor=False)
    one, two = st.columns(2)
    rows = one.selectbox("Rows", others, format_func=wording.nice, key="bucket_rows")
    rest = [name for name in others if name != rows]
    columns = two.selectbox("Columns", rest, format_func=wording.nice, key="bucket_columns")
    crossed = bucket_view.cell_counts(samples, rows, columns)
    widgets.chart(bucket_view.cell_map(crossed), key="bucket_cells", alt=f"Images by {rows} and {columns}")
    if marks := bucket_view.cell_marks(crossed):
        st.caption(marks)
    widgets.table(crossed.reset_index(), f"{bucket.name}-{rows}-{columns}")

if others:
    st.subheader("What the labels say of the groups", anchor=False)
    bucket_view_labels.draw_disparity(table, target, attribute)

st.subheader("What training will use", anchor=False)
buckets.show_split(table, target)

if others:
    st.subheader("How well each group could be audited", anchor=False)
    bucket_view_labels.draw_plan(table, target, attribute)

st.subheader("How a rectangle becomes a square", anchor=False)
bucket_view_fit.draw(bucket.url, mixed, default_fit)

st.subheader("Sample wall", anchor=False)


@st.fragment
@frame.guard()
def sample_wall() -> None:
    """Thumbnails of one slice, page by page; only what is shown is read."""
    chosen = mixed
    names = list(dict.fromkeys([target, *table.attributes]))[:5]
    for column, name in zip(st.columns(len(names)), names, strict=True):
        values = column.multiselect(
            wording.nice(name),
            widgets.ordered(samples[name].dropna().astype(str).unique()),
            key=f"wall_{name}",
            placeholder="all",
        )
        if values:
            chosen = chosen[chosen[name].astype(str).isin(values)]
    if chosen.empty:
        st.info("No image is in all of these groups.", icon=":material/image_not_supported:")
        return
    pages = -(-len(chosen) // PER_PAGE)
    page = st.number_input(f"Page (of {pages:,})", 1, pages, key="wall_page", width=160) if pages > 1 else 1
    shown = chosen.iloc[(page - 1) * PER_PAGE : page * PER_PAGE]
    captions = shown[names].astype("object").where(shown[names].notna(), "unknown").astype(str).agg(", ".join, axis=1)
    bucket_view.wall(bucket.url, shown, pd.Series(captions, index=shown.index))
    st.caption(f"{wording.count(len(chosen), 'image')}. {wording.NOT_FOR}")


sample_wall()
