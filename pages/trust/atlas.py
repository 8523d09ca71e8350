"""Atlas: where the model looks on average, one group beside another."""

import streamlit as st

from visrec.errors import VisrecError
from visrec.runs.status import ACTIVE
from visrec.ui import atlas_job_view, atlas_view, cached, explaining, frame, state, widgets, wording

frame.open_page("Atlas", "Does the model look elsewhere for one group than for another?", needs="run")
row = state.focus()
run = cached.run(row.id)
try:
    explaining.check_model(run)
    rows = cached.predictions(row.id)
except VisrecError as error:
    widgets.empty_state("No model to ask", str(error), action="train", label="Train a model")
    st.stop()
attributes = state.attributes_of(row, rows)
if not attributes:
    widgets.empty_state(
        "No groups to compare",
        "The images of this run have no attribute such as race or age, so there are no groups. Train on a bucket whose "
        "labels have such a column; the Bucket page shows which it found.",
        action="bucket",
        label="See the buckets",
    )
    st.stop()

by = atlas_job_view.choose_by(run, attributes)
status = atlas_job_view.status_of(run, by)
if status is not None and status.state in ACTIVE:
    atlas_job_view.follow(row.id, tuple(by))
elif (atlas := atlas_job_view.atlas_of(run, by)) is None:
    atlas_job_view.say_how_it_ended(status)
    atlas_job_view.offer(run, by, rows)
else:
    atlas_job_view.say_how_it_ended(status)
    atlas_view.show(atlas, "-".join(by))
    with st.expander("Make it anew", icon=":material/refresh:"):
        atlas_job_view.offer(run, by, rows, again=True)
st.caption(wording.NOT_FOR)
