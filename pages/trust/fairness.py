"""Metrics by group: gaps beside what chance would show, AIF360's metrics, pairs, images needed, scores."""

import streamlit as st

from visrec.ui import aif360_view, audit_view, fairness_view, frame, scores_view, wording

view = frame.open_page("Metrics", "How far apart are the groups, and is it more than chance?", needs="predictions")
by = audit_view.choose_by(view, most=3)
if not by:
    audit_view.links(("overview", "confusion", "explain"))
    st.stop()
section = fairness_view.choose_section()
audit = audit_view.audit_of(view, by)

if section == fairness_view.GAPS:
    fairness_view.draw_gaps(audit)
    fairness_view.draw_rates(audit)
    fairness_view.draw_scan(audit)
elif section == fairness_view.AIF360:
    aif360_view.draw_aif360(view, by)
elif section == fairness_view.PAIRS:
    fairness_view.draw_pairs(audit)
elif section == fairness_view.IMAGES:
    fairness_view.draw_planner(audit)
else:
    scores_view.draw(view, audit)

audit_view.show_skipped(view, audit_view.counted(view))
st.caption(wording.NOT_FOR)
