"""Overview: the headline of one run, with its uncertainty and what would settle what stays open."""

import streamlit as st

from visrec.ui import audit_view, frame, gallery, overview_view, wording

view = frame.open_page("Overview", "Who does this model fail?", needs="predictions")
by = audit_view.choose_by(view, most=3)
audit = audit_view.audit_of(view, by)
rate = overview_view.head_rate(view.outcome)

if by:
    overview_view.draw_cards(overview_view.cards(audit, rate))
    ranking, meaning = st.columns([3, 2], gap="large")
    with ranking:
        st.subheader(f"{wording.nice(audit_view.rate_name(rate))} of each group", anchor=False)
        overview_view.draw_ranking(audit, rate)
    with meaning:
        overview_view.draw_meaning(audit, rate)
    st.subheader("Wrong answers in the three lowest groups", anchor=False)
    gallery.slices(view, audit_view.counted(view), overview_view.worst_slices(audit, rate))
else:
    overview_view.draw_cards([overview_view.overall_card(audit, rate)])
    st.subheader("Wrong answers, the surest first", anchor=False)
    gallery.paged(view, gallery.find(view, audit_view.counted(view), {}, wrong=True), key="overview")

audit_view.show_skipped(view, audit_view.counted(view))
audit_view.links(("confusion", "fairness", "explain", "predictions"))
st.caption(wording.NOT_FOR)
