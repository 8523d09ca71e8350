"""Train: start a run in a process of its own, then follow its status file."""

import streamlit as st

from visrec.ui import buckets, cached, frame, model_form, state, train_form, training, widgets, wording

frame.open_page("Train", "From bucket to audited model.")
training.show_refusal()


@st.fragment(run_every="2s")
@frame.guard()
def follow(run_id: str) -> None:
    """Draw the run anew every two seconds, until it has ended; then the whole page is drawn once more."""
    run = cached.run(run_id)
    status = run.status()
    training.show(run, status)
    training.actions(run, status)
    if status.state != row.state:  # the sidebar and the buttons around say the state as well
        cached.forget_runs()
        st.rerun()


row = state.focus()
active = row is not None and row.state in ("queued", "running", "cancelling")
followed = row is not None and (
    active or row.state in ("failed", "lost", "cancelled") or row.id == st.session_state.get("train_followed")
)
if followed:
    st.subheader(f"{wording.STATE_ICONS[row.state]} {widgets.escape(row.name)}", anchor=False)
    if active:
        st.session_state["train_followed"] = row.id
        st.caption("It goes on when you close this page; any browser can follow it under this address.")
        follow(row.id)
    else:
        run = cached.run(row.id)
        status = run.status()
        training.show(run, status)
        training.actions(run, status)
    st.divider()

st.subheader("New run", anchor=False)
bucket = buckets.choose("bucket", "1  Bucket")
table = cached.bucket_table(bucket.url)
config, name = train_form.draw(bucket, table)
if config is not None and st.button(
    "Start training", type="primary", icon=":material/play_arrow:", key="train_start", width=240
):
    from visrec.runs import jobs

    started = jobs.start(config, cached.settings(), name=name or None)
    cached.forget_runs()
    state.set_focus(started.id)
    st.rerun()

with st.expander("Bring a model that was trained elsewhere", icon=":material/deployed_code:"):
    model_form.draw()

st.subheader("Recent runs and queue", anchor=False)
train_form.recent(cached.run_list()[:8])
