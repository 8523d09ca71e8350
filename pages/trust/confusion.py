"""Confusion matrices by subgroup: which label is taken for which, and for whom."""

import streamlit as st

from visrec.ui import audit_view, confusion_view, frame, wording

view = frame.open_page("Confusion matrices", "Where do the errors go?", needs="predictions")
split, show = st.columns(2, vertical_alignment="bottom")
with split:
    by = audit_view.choose_by(view, most=2)
with show:
    shown = confusion_view.choose_show()
audit = audit_view.audit_of(view, by)
predictions = audit_view.counted(view)
matrices = confusion_view.matrices_of(audit, by)

confusion_view.draw_overall(matrices)
if by:
    st.subheader(f"By {' and '.join(wording.nice(name).lower() for name in by)}", anchor=False)
    confusion_view.draw_grid(matrices, by, shown)
    audit_view.numbers(lambda: confusion_view.long_table(matrices, by), "confusion", rates=["share_of_row"])
confusion_view.draw_gallery(view, predictions, matrices, by)
audit_view.show_skipped(view, predictions)
st.caption(wording.NOT_FOR)
