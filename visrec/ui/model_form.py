"""Bringing a model of one's own: upload the file, name its classes and pixels, and it becomes a run without training.

The file is opened by a process of its own, never by this server; one that brings code along is refused there.
"""

import shutil
import time
from pathlib import Path

import streamlit as st

from visrec.errors import VisrecError
from visrec.ui import cached, frame, import_view, state, widgets

KINDS = ["keras", "h5", "hdf5", "tflite", "zip"]
SCALES = {"0..255": "0 to 255: as in the image file", "0..1": "0 to 1", "-1..1": "-1 to 1 (MobileNet, Inception)"}
NOTHING = "none"


def draw() -> None:
    """The whole form; leaves for the run's page once the run is there."""
    st.caption(
        "A Keras file (.keras, .h5), a TFLite file, or the zip of a SavedModel folder. It answers for a bucket's test "
        "images and is then audited and explained like a run trained here. A file that brings Python code along "
        "(Lambda layers, pickles) is refused."
    )
    sent = st.file_uploader("Model file, at most 200 MB", type=KINDS, key="model_upload")
    left, right = st.columns(2)
    labels = left.text_input(
        "Class names, in the order of the model's outputs",
        key="model_labels",
        placeholder="Female, Male",
        help="Separated by commas. A model with a single sigmoid output speaks for the second class.",
    )
    scale = right.selectbox("Pixels it was trained on", list(SCALES), format_func=SCALES.get, key="model_scale")
    size = left.number_input(
        "Image size (pixels)", 8, 1024, value=None, step=1, placeholder="as the file says", key="model_size"
    )
    bucket, target = _bucket(right)
    logits = left.checkbox("Its outputs are logits: no softmax or sigmoid at the end", key="model_logits")
    name = right.text_input("Name of the run", key="model_name", max_chars=80, placeholder="the file's name")
    if sent is None or not labels.strip():
        st.caption("Choose a file and name its classes to go on.")
        return
    if st.button("Import the model", type="primary", icon=":material/upload_file:", key="model_go"):
        options = {"scale": scale, "size": size, "logits": logits, "bucket": bucket, "target": target}
        _import(sent, [part.strip() for part in labels.split(",") if part.strip()], options | {"name": name or None})


def _bucket(column) -> tuple[str | None, str | None]:
    """Whose images it answers for, and the column that it predicts."""
    names = [bucket.name for bucket in cached.buckets()]
    chosen = column.selectbox(
        "Let it answer for the images of",
        [NOTHING, *names],
        index=min(1, len(names)),
        key="model_bucket",
        help="Its test images, else its val images. Without a bucket there is no audit, only explanations.",
    )
    if chosen == NOTHING:
        return None, None
    found = next(bucket for bucket in cached.buckets() if bucket.name == chosen)
    try:
        table = cached.bucket_table(found.url)
    except VisrecError as error:
        column.caption(widgets.escape(str(error)))
        return chosen, None
    index = table.targets.index(table.target) if table.target in table.targets else 0
    target = column.selectbox("What it predicts", table.targets, index, key=f"model_target_{found.url}")
    return chosen, target


def _import(sent, labels: list[str], options: dict) -> None:
    from visrec.model import import_model
    from visrec.runs.record import new_id

    path = import_view.upload_folder() / sent.file_id / Path(sent.name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sent.getvalue())
    made = new_id()  # given from here: another visitor may be importing a model at this moment
    process = import_model.start(path, cached.settings(), labels, run_id=made, **options)
    with st.spinner("Opening the model", show_time=True):
        while process.poll() is None and not _is_there(made):
            time.sleep(0.5)
    if not _is_there(made):
        said = (path.parent / "import.err").read_text(errors="replace").strip().splitlines()
        st.error(widgets.escape(said[-1] if said else "It ended without a word."), icon=":material/error:")
        shutil.rmtree(path.parent, ignore_errors=True)
        return
    cached.forget_runs()
    state.set_focus(made)
    st.session_state["train_followed"] = made
    frame.go("train", run=made)


def _is_there(run_id: str) -> bool:
    return run_id in cached.runs().ids()
