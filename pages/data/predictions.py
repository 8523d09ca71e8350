"""Predictions: bring the answers of any model as a table, and audit them without training anything."""

import streamlit as st

from visrec.ui import frame, import_view, wording

frame.open_page("Your own predictions", "How does a model of mine treat these groups?")
path = import_view.upload()
if path is not None:
    import_view.form(path)
st.caption(wording.NOT_FOR)
