"""Runs: every training and every imported table, newest first; one in detail, several side by side."""

import streamlit as st

from visrec.ui import cached, frame, runs_view, state, training

frame.open_page("Runs", "Which run did what, and how do they compare?", needs="run")
training.show_refusal()
rows = cached.run_list()
chosen = runs_view.choose(rows)
st.caption("Tick one run for its details, two or more to see them side by side.")
if len(chosen) > 1:
    runs_view.compare(chosen)
else:
    runs_view.show_details(chosen[0] if chosen else state.focus())
