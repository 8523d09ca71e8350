"""Runs on a page: one in detail, or several side by side with what differs between them."""

import json

import pandas as pd
import streamlit as st

from visrec.errors import VisrecError
from visrec.runs.record import headline
from visrec.ui import cached, frame, paired_view, runs_side_view, training, widgets, wording

SETTING_WORDS = {
    "bucket": "bucket",
    "target": "predicts",
    "by": "watched groups",
    "preset": "how thorough",
    "image_size": "image size (pixels)",
    "alpha": "width of the network",
    "weights": "starts from",
    "allow_random": "random weights allowed instead",
    "epochs": "passes for the head",
    "fine_tune_epochs": "passes of fine-tuning",
    "batch_size": "images per step",
    "limit": "at most (training images)",
    "seed": "seed",
    "sample_weights": "what counts more",
    "fit": "rectangles become squares by",
    "mirror": "uses mirror images",
    "model": "model file",
    "scale": "pixels it takes",
    "logits": "outputs are logits",
}
KINDS = {
    "trained": "trained here",
    "imported-table": "table of predictions",
    "imported-model": "model brought along",
    cached.DAMAGED: "damaged",
}


def as_table(rows: list) -> pd.DataFrame:
    """The list of runs as a table for people."""
    return pd.DataFrame(
        {
            "name": [row.name for row in rows],
            "state": [wording.STATES.get(row.state, row.state) for row in rows],
            "accuracy": pd.Series([row.accuracy for row in rows], dtype="float"),
            "predicts": [row.target for row in rows],
            "bucket": [row.bucket.rstrip("/").rpartition("/")[2] for row in rows],
            "kind": [KINDS.get(row.kind, row.kind) for row in rows],
            "made": [wording.date(row.created) for row in rows],
        }
    )


def choose(rows: list) -> list:
    """The table of all runs, searched and sorted as the reader likes; returns the chosen rows."""
    wanted = ""
    if len(rows) > 1:
        wanted = st.text_input(
            "Search",
            key="runs_search",
            placeholder="name, bucket, state, target ...",
            icon=":material/search:",
        )
        rows = search(rows, wanted)
    if not rows:
        st.caption(f"No run has '{widgets.escape(wanted)}' in its name, bucket, state, target, kind or date.")
        return []
    chosen = st.dataframe(
        as_table(rows),
        hide_index=True,
        key="runs_table" + (f"_{wanted}" if wanted else ""),  # what was ticked in another list is not meant here
        on_select="rerun",
        selection_mode="multi-row",
        alt="All runs, newest first",
        column_config={
            "accuracy": st.column_config.NumberColumn(
                format="%.3f", help="Of the images an audit takes: test, else val."
            )
        },
    )
    return [rows[i] for i in chosen["selection"]["rows"] if i < len(rows)]


def search(rows: list, wanted: str) -> list:
    """The rows in which every word looked for stands somewhere, whatever its case."""
    words = wanted.lower().split()
    if not words:
        return rows
    table = as_table(rows).drop(columns="accuracy").astype(str)
    texts = (" ".join(values).lower() for values in table.itertuples(index=False))
    return [row for row, text in zip(rows, texts, strict=True) if all(word in text for word in words)]


def show_details(row) -> None:
    """One run: outcome, next steps, how it was made, name and note."""
    run = cached.run(row.id)
    status = run.status()
    st.subheader(f"{wording.STATE_ICONS.get(row.state, '')} {widgets.escape(row.name)}", anchor=False)
    if row.kind == cached.DAMAGED:
        training.show(run, status)
        training.actions(run, status)
        return
    record = run.record
    if record.get("kind", "trained") != "imported-table":
        training.show(run, status)
    training.actions(run, status)
    settings, lineage = st.columns(2)
    with settings:
        st.markdown("**How it was made**")
        st.dataframe(settings_table({row.name: record}), hide_index=True, alt="Settings of the run")
    with lineage:
        st.markdown("**What it stands on**")
        st.dataframe(lineage_table(record), hide_index=True, alt="Lineage of the run")
    _name_and_note(run, record)


def settings_table(records: dict[str, dict]) -> pd.DataFrame:
    """Settings, one row each, one column per run.

    >>> settings_table({"a": {"settings": {"seed": 1}}, "b": {"settings": {"seed": 2}}}).to_dict("list")
    {'setting': ['seed'], 'a': ['1'], 'b': ['2']}
    """
    found = {name: record.get("settings") or {} for name, record in records.items()}
    keys = [key for key in SETTING_WORDS if any(key in values for values in found.values())]
    columns = {name: [_word(values.get(key)) for key in keys] for name, values in found.items()}
    return pd.DataFrame({"setting": [SETTING_WORDS[key] for key in keys], **columns})


def _word(value) -> str:
    if value is None or value == []:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def lineage_table(record: dict) -> pd.DataFrame:
    """Data, code, packages and machine of a run, in two columns."""
    lineage = record.get("lineage") or {}
    rows = [("images", _word([f"{n:,} {split}" for split, n in (record.get("samples") or {}).items() if n]))]
    aside = [f"{n:,} {why}" for why, n in (record.get("set_aside") or {}).items()]
    rows.append(("set aside", _word(aside) if aside else "none"))
    for key, value in lineage.items():
        if isinstance(value, dict):
            rows += [(str(name), _word(version)) for name, version in value.items()]
        else:
            rows.append((wording.nice(key).lower(), _word(value)))
    seconds = record.get("seconds") or {}
    rows += [(f"{training.STAGES.get(stage, stage)} took", wording.duration(s)) for stage, s in seconds.items()]
    return pd.DataFrame(rows, columns=["what", "value"])


def _name_and_note(run, record: dict) -> None:
    from visrec.runs.record import note, rename

    with st.expander("Name and note", icon=":material/edit_note:"), st.form(f"runs_form_{run.id}", border=False):
        name = st.text_input("Name", record.get("name") or "", max_chars=80)
        text = st.text_area("Note", record.get("note") or "", max_chars=4000)
        if st.form_submit_button("Keep"):
            try:
                rename(run, name)
                note(run, text)
            except VisrecError as error:
                st.error(widgets.escape(str(error)), icon=":material/error:")
            else:
                cached.forget_runs()
                st.rerun()
    st.download_button(
        "Download the record",
        lambda: json.dumps(record, indent=1, ensure_ascii=False).encode(),
        f"{run.id}.json",
        "application/json",
        icon=":material/download:",
        key=f"runs_record_{run.id}",
        on_click="ignore",
    )


def compare(rows: list) -> None:
    """Several runs side by side: figures, two of them on the same images, then the settings that differ."""
    rows = [row for row in rows if row.kind != cached.DAMAGED]
    records = {_unique(row, rows): cached.run(row.id).record for row in rows}
    st.subheader("Side by side", anchor=False)
    for start in range(0, len(rows), 3):
        part = list(records.items())[start : start + 3]
        for column, (name, record), row in zip(st.columns(3), part, rows[start : start + 3], strict=False):
            metric = headline(record)
            with column.container(border=True):
                st.markdown(f"**{widgets.escape(name)}**")
                st.metric(training.accuracy_name(metric), wording.number(metric.get("value")))
                st.caption(f"95 % interval {wording.interval(metric)}, n = {int(metric.get('n') or 0):,}")
                if st.button("Open", key=f"runs_open_{row.id}"):
                    frame.go("overview" if row.usable else "train", run=row.id)
    if not paired_view.show(rows):
        st.caption(verdict(list(records.values())))
    named = dict(zip(records, rows, strict=True))
    runs_side_view.show_gaps(named)
    runs_side_view.show_curves(named)
    table = settings_table(records)
    differs = table[table.columns[1:]].nunique(axis=1) > 1
    st.markdown("**Settings that differ**")
    if differs.any():
        st.dataframe(table[differs], hide_index=True, alt="Settings that differ between the runs")
    else:
        st.caption("None: the same settings throughout.")
    widgets.table(table, "runs-side-by-side", label="All settings")


def _unique(row, rows: list) -> str:
    return row.name if sum(other.name == row.name for other in rows) == 1 else f"{row.name} ({row.id[-4:]})"


def verdict(records: list[dict]) -> str:
    """Whether the accuracies can be told apart, as far as two intervals say.

    >>> a = {"metrics": {"val_accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}}}
    >>> verdict([a, a])
    'The intervals overlap: the difference may be chance.'
    """
    metrics = [headline(record) for record in records]
    if any(metric.get("value") is None for metric in metrics):
        return "Not every run has an accuracy."
    targets = {(record.get("bucket"), record.get("target")) for record in records}
    if len(targets) > 1:
        return (
            "These runs were judged on different images or predict different things: their accuracies do not compare."
        )
    first, *others = sorted(metrics, key=lambda metric: -metric["value"])
    apart = all(metric["high"] < first["low"] for metric in others)
    return (
        "The best one's interval lies above the others: the difference is more than chance."
        if apart
        else "The intervals overlap: the difference may be chance."
    )
