"""A training as a page shows it: stages with the time left, curves, watched cells, log, and the next action.

Reads only what the training process writes (status, history, log); the page may be closed at any time.
"""

import re
import time

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from visrec.audit.splits import SEEN_IN_TRAINING
from visrec.errors import VisrecError
from visrec.runs.record import headline
from visrec.ui import cached, charts, frame, widgets, wording

STAGES = {
    "prepare": "Prepare images",
    "features": "Compute features",
    "head": "Train head",
    "fine_tune": "Fine-tune",
    "predict": "Predict",
    "export": "Save model",
}
CELL = "accuracy:"
FOLLOWED = 20
"""A group with fewer tune images is not drawn while training: its share would jump about."""
MAX_CELLS = 8
_MACHINERY = re.compile(r"[IWEF]\d{4} \d\d:\d\d|WARNING: All log messages before absl")


def show(run, status) -> None:
    """The whole panel of one run in whatever state it is; draws no buttons."""
    try:
        record = run.record
    except VisrecError as error:
        st.error(widgets.escape(f"The run's record is damaged or out of reach. {error}"), icon=":material/error:")
        return
    stages = used_stages(record)
    if status.state in ("queued", "running", "cancelling"):
        st.progress(min(1.0, max(0.0, status.progress)), text=progress_line(status))
        st.caption(stage_line(status, stages, record.get("estimate")))
        if said := machine_line(record, status):
            st.caption(f":material/memory: {widgets.escape(said)}")
    else:
        show_outcome(run, record, status)
    if note := record.get("weights_note"):
        st.caption(f":material/info: {widgets.escape(note)}")
    for warning in record.get("warnings") or ():
        st.warning(widgets.escape(warning), icon=":material/warning:")
    show_curves(run.history(), record.get("watched") or {})
    with st.expander("Log", icon=":material/receipt_long:"):
        st.code(readable(run.log(400)) or "Nothing logged yet.", language=None, height=260)


def readable(log: str) -> str:
    """The log without what TensorFlow's own machinery says on starting; ``visrec follow`` shows all of it.

    >>> readable("12:00:01 Epoch 1\\nI0000 00:00:17.1 10 port.cc:153] oneDNN custom operations are on.")
    '12:00:01 Epoch 1'
    """
    return "\n".join(line for line in log.splitlines() if not _MACHINERY.match(line))


def used_stages(record: dict) -> list[str]:
    """The stages this run goes through: no fine-tuning without its epochs, no separate head from random weights.

    >>> used_stages({"settings": {"fine_tune_epochs": 0}})
    ['prepare', 'features', 'head', 'predict', 'export']
    >>> used_stages({"settings": {"fine_tune_epochs": 9, "weights": "none"}})
    ['prepare', 'fine_tune', 'predict', 'export']
    """
    settings = record.get("settings") or {}
    if record.get("kind") == "imported-model":
        return ["export", "prepare", "predict"] if record.get("bucket") else ["export"]
    left_out: set[str] = set()
    if settings.get("fine_tune_epochs") == 0:
        left_out = {"fine_tune"}
    elif settings.get("weights") == "none" or record.get("weights_as_asked") is False:
        left_out = {"features", "head"}
    return [stage for stage in STAGES if stage not in left_out]


def progress_line(status) -> str:
    """What is happening and for how long still."""
    if status.state == "queued":
        return status.message or "Waiting for its turn."
    name = STAGES.get(status.stage, status.stage or "Starting")
    known = (status.stage_left or 0) >= 2 and status.stage_progress >= 0.05  # the first steps are slower than the rest
    left = f" · about {wording.duration(status.stage_left)} left in this step" if known else ""
    stopping = " · stopping" if status.state == "cancelling" else ""
    share = f" · {status.stage_progress:.0%}" if status.stage else ""
    return f"{name}{share}{left}{stopping}"


def stage_line(status, stages: list[str], expected: dict[str, float] | None = None) -> str:
    """The steps in order, each with its mark (done, now, to come) and, as far as it is known, the time it will take."""
    current = stages.index(status.stage) if status.stage in stages else -1
    marks = []
    for position, stage in enumerate(stages):
        icon = "check_circle" if position < current else "pending" if position == current else "radio_button_unchecked"
        text = STAGES[stage]
        coming = (expected or {}).get(stage, 0) if position > current else 0
        about = f" ~{wording.duration(coming)}" if coming >= 1 else ""
        marks.append(f":material/{icon}: " + (f"**{text}**" if position == current else text + about))
    elapsed = f" · running for {wording.duration(time.time() - status.started)}" if status.started else ""
    return "\u2003".join(marks) + elapsed + left_line(status, stages[current + 1 :], expected)


def left_line(status, coming: list[str], expected: dict[str, float] | None) -> str:
    """The time left in all: what the stage still takes, and the estimate of those to come."""
    if not expected or status.state == "queued" or status.stage not in STAGES:
        return ""
    now = status.stage_left
    if now is None:
        now = expected.get(status.stage, 0) * (1 - status.stage_progress)
    left = now + sum(expected.get(stage, 0) for stage in coming)
    return f" · about {wording.duration(left)} left in all" if left >= 2 else ""


def machine_line(record: dict, status) -> str:
    """What it runs on, and the memory in use there.

    >>> from visrec.runs.status import Status
    >>> machine_line({"lineage": {"device": "CPU (2 cores)", "host": "a"}}, Status("running", memory=1_500_000_000))
    'CPU (2 cores) on a · 1.5 GB of memory in use'
    """
    lineage = record.get("lineage") or {}
    where = " on ".join(part for part in (lineage.get("device"), lineage.get("host") or status.host) if part)
    policy = lineage.get("policy", "float32")
    parts = [where, "" if policy == "float32" else policy.replace("_", " ")]
    for value, what in ((status.memory, "memory"), (status.device_memory, "GPU memory")):
        parts.append("" if value is None else f"{value / 1e9:.1f} GB of {what} in use")
    return " · ".join(part for part in parts if part)


def show_outcome(run, record: dict, status) -> None:
    """How it ended: the figure with its interval, or the sentence of what went wrong."""
    if status.state == "done":
        metric = headline(record)
        seconds = sum((record.get("seconds") or {}).values())
        widgets.figures(
            [
                (accuracy_name(metric), wording.number(metric.get("value")), accuracy_help(metric)),
                (
                    "Interval (95 %)",
                    wording.interval(metric),
                    "The true accuracy on such images most likely lies here.",
                ),
                ("Images judged", wording.count(int(metric.get("n") or 0)), judged_help(metric)),
                ("Took", wording.duration(seconds), "Time from the first image read to the saved model."),
            ]
        )
        return
    draw = {"failed": st.error, "lost": st.warning, "cancelled": st.info}.get(status.state, st.info)
    draw(widgets.escape(status.error or status.message), icon=wording.STATE_ICONS.get(status.state))
    st.caption(getattr(status, "next_action", ""))


def accuracy_name(metric: dict) -> str:
    """What an accuracy is called: with the split that it was measured on.

    >>> accuracy_name({"split": "test"}), accuracy_name({})
    ('Accuracy on test', 'Accuracy')
    """
    return f"Accuracy on {metric['split']}" if metric.get("split") else "Accuracy"


def accuracy_help(metric: dict) -> str:
    """Where the accuracy was measured."""
    of = f" of split {metric['split']}" if metric.get("split") else ""
    return (
        f"Share of right answers on {wording.count(int(metric.get('n') or 0), 'image')}{of}; an audit takes the same."
    )


def judged_help(metric: dict) -> str:
    """Whether the training has seen the images that it is judged by."""
    if metric.get("split") in SEEN_IN_TRAINING:
        return "Images the training has seen, since no others could be read: the figures flatter it."
    return "Images the training never saw."


def show_curves(history: pd.DataFrame, watched: dict[str, int]) -> None:
    """Loss and accuracy per epoch, and the accuracy of each watched group large enough to be followed."""
    if history.empty:
        return
    history = history.reset_index(drop=True)
    left, right = st.columns(2)
    for place, kind in ((left, "accuracy"), (right, "loss")):
        with place:
            st.markdown(f"**{kind.capitalize()} after each pass**")
            figure = curve(history, lines_of(history, kind))
            widgets.chart(figure, key=f"train_{kind}", alt=f"{kind.capitalize()} after each pass")
    show_cells(history, watched)
    widgets.table(history, "history", label="Every pass as a table")


def show_cells(history: pd.DataFrame, watched: dict[str, int]) -> None:
    """Each watched group's accuracy; groups too small to follow are counted, not drawn."""
    cells = [column.removeprefix(CELL) for column in history.columns if column.startswith(CELL)]
    if not cells:
        return
    st.markdown("**Accuracy of each watched group**")
    if said := worst_line(history, watched):
        st.caption(f":material/trending_down: {widgets.escape(said)}")
    large = [cell for cell in cells if watched.get(cell, 0) >= FOLLOWED]
    if not large:
        st.caption(f"Every watched group has fewer than {FOLLOWED} images to follow it by; the audit uses more images.")
        return
    last = history[[CELL + cell for cell in large]].iloc[-1].sort_values()
    names = list(last.index)
    drawn = names if len(names) <= MAX_CELLS else [*names[: MAX_CELLS - 2], *names[-2:]]
    figure = curve(history, {name: cell_name(name) for name in drawn})
    widgets.chart(figure, key="train_cells", alt="Accuracy of each watched group after each pass")
    left_out = [
        f"{len(cells) - len(large)} of {len(cells)} groups have fewer than {FOLLOWED} images and are not drawn"
        * (len(large) < len(cells)),
        f"of the others the {len(drawn) - 2} lowest and the 2 highest are" * (len(drawn) < len(names)),
    ]
    if said := "; ".join(part for part in left_out if part):
        st.caption(f"{said[:1].upper()}{said[1:]}. The table has all.")


def worst_line(history: pd.DataFrame, watched: dict[str, int]) -> str:
    """The watch line: the lowest group after the last pass, and whether that can be told from the whole."""
    from visrec.model.watch import worst_cell

    row = history.iloc[-1]
    shares = {c.removeprefix(CELL): float(row[c]) for c in history.columns if c.startswith(CELL)}
    return worst_cell(shares, watched, float(row.get("tune_accuracy", float("nan"))))


def lines_of(history: pd.DataFrame, kind: str) -> dict[str, str]:
    """The history's columns of one kind, with the rows each is measured on.

    >>> lines_of(pd.DataFrame(columns=["accuracy", "tune_accuracy", "accuracy:race=a", "loss"]), "accuracy")
    {'accuracy': 'train', 'tune_accuracy': 'tune'}
    """
    return {
        column: column.removesuffix(kind).strip("_") or "train"
        for column in history.columns
        if column.endswith(kind) and not column.startswith(CELL)
    }


def cell_name(column: str) -> str:
    """A history column as words.

    >>> cell_name("accuracy:race=Black,age=60-69")
    'Black · 60-69'
    """
    from visrec.model.watch import values_of

    return charts.cell_name(values_of(column.removeprefix(CELL)))


def curve(history: pd.DataFrame, lines: dict[str, str]) -> go.Figure:
    """One line per column of the history; fine-tuning begins at the dotted line."""
    figure = charts.blank(230, margin={"r": 8, "t": 8, "b": 24, "l": 44})
    steps = list(range(1, len(history) + 1))
    marked = len(steps) <= 40
    for position, (column, name) in enumerate(lines.items()):
        figure.add_scatter(
            x=steps, y=history[column], name=charts.escape(name), mode="lines+markers" if marked else "lines",
            line={
                "color": charts.SERIES[position % len(charts.SERIES)], "width": 2,
                "dash": charts.DASHES[position // len(charts.SERIES) % len(charts.DASHES)],
            },
            marker={"symbol": charts.SYMBOLS[position % len(charts.SYMBOLS)], "size": 6},
            hovertemplate=f"pass %{{x}}, {charts.escape(name)}: %{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
    )
    # on a telephone each name of the legend takes a line, and Plotly gives it half of the height at most
    height = 240 + (24 * len(lines) if len(lines) > 3 else 0)
    figure.update_layout(margin={"t": 30 + 20 * (len(lines) // 4)}, height=height)
    figure.update_xaxes(dtick=max(1, -(-len(steps) // 8)), range=[0.7, len(steps) + 0.3], showgrid=False)
    figure.update_yaxes(showgrid=True, gridcolor=charts.FAINT)
    if "stage" in history and history["stage"].iloc[0] != history["stage"].iloc[-1]:
        begin = int((history["stage"] == history["stage"].iloc[-1]).idxmax())
        figure.add_vline(x=begin + 0.5, line={"dash": "dot", "color": charts.RULE, "width": 1})
    return figure


def actions(run, status) -> None:
    """The buttons of a state: cancel while it goes on, resume or delete after a stop, the audit when done."""
    from visrec.runs import jobs

    try:
        kind = run.record.get("kind", "trained")
    except VisrecError:  # damaged, as the panel says
        delete_button(run)
        return
    with st.container(horizontal=True):
        if status.state in ("queued", "running"):
            st.button(
                "Cancel", icon=":material/stop_circle:", key="train_cancel", on_click=_call, args=(jobs.cancel, run)
            )
        if status.state == "done":
            for page, label in (
                ("overview", "Whom does it fail?"), ("confusion", "Confusion matrices"),
                ("fairness", "Metrics"), ("explain", "Explain an image"),
            ):  # fmt: skip
                if st.button(label, key=f"train_to_{page}", type="primary" if page == "overview" else "secondary"):
                    frame.go(page, run=run.id)
        if status.state in ("cancelled", "failed", "lost"):
            resume = lambda r: jobs.resume(r, cached.settings())
            if kind == "trained":
                st.button(
                    "Resume",
                    type="primary",
                    icon=":material/resume:",
                    key="train_resume",
                    on_click=_call,
                    args=(resume, run),
                )
        if status.finished:
            delete_button(run)


def delete_button(run) -> None:
    """Delete a run, after a second press."""
    with st.popover("Delete", icon=":material/delete:"):
        st.write("The run's folder goes for good: record, log, model and everything made from it.")
        st.button("Delete it", key="train_delete", on_click=_call, args=(_delete, run))


def _delete(run) -> None:
    cached.runs().delete(run)


def _call(action, run) -> None:
    """A button's callback: a refusal is kept and shown on the page, since callbacks run before it is drawn."""
    try:
        action(run)
    except VisrecError as error:
        st.session_state["train_refused"] = str(error)
    cached.forget_runs()


def show_refusal() -> None:
    """What the last button could not do, once."""
    if message := st.session_state.pop("train_refused", None):
        st.error(widgets.escape(message), icon=":material/error:")
