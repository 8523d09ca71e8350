"""Explain: why the model answers what it answers for one image."""

import streamlit as st

from visrec.errors import VisrecError
from visrec.runs import jobs
from visrec.ui import (
    cached,
    explain_view,
    explain_view_group,
    explain_view_near,
    explain_view_overlay,
    explaining,
    frame,
    server,
    state,
    widgets,
    wording,
)

frame.open_page("Explain", "Why this answer?", needs="run")
row = state.focus()
run = cached.run(row.id)
try:
    explaining.check_model(run)
except VisrecError as error:
    widgets.empty_state("No model to ask", str(error), action="train", label="Train a model")
    st.stop()
if jobs.is_training(cached.settings()):
    st.info("A training has the machine now; explanations use the CPU and take longer.", icon=":material/schedule:")

server.keep_uploads_in_memory()  # also where the server was started as plain `streamlit run`
predict = cached.predictor(row.id)
source = explain_view.choose_source()
picture = explain_view.get_picture(source, run, predict.image_size)
if picture is not None:
    near = explain_view_near.look(run, picture, predict)
    answer, seen = st.columns([2, 3], gap="large")
    with answer:
        explain_view.show_answer(row.id, picture, predict, far=None if near is None else near.far)
    with seen:
        explain_view_overlay.show_explanation(row.id, picture, predict)
    explain_view_group.show(picture)
    if near is not None:
        explain_view_near.show(run, near)
if source == "test":
    explain_view.gallery(run, chosen=picture is not None)
st.caption(wording.NOT_FOR)
