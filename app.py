"""The frame of the dashboard: page config, login check, navigation, sidebar; every page is drawn inside it."""

import streamlit as st

from visrec.ui import frame, navigation

st.set_page_config(page_title="visrec", page_icon=":material/visibility:", layout="wide")

with frame.guard():
    page = navigation.build()
    frame.require_login()
    with frame.guard():  # its own: a page that needs no run works while the runs cannot be reached
        frame.sidebar(navigation.section_of(page))
    try:
        page.run()
    finally:
        frame.settle()
