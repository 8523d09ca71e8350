"""Tables that the oracles are asked about: small, odd, and made by hypothesis."""

import pandas as pd
from hypothesis import strategies as st


@st.composite
def tables(draw, classes=("no", "yes"), groups=("a", "b", "c"), most=60, attributes=1):
    """Rows of label, prediction and attributes: empty cells, one-class cells, single groups and ties all occur."""
    n = draw(st.integers(1, most))
    some = draw(st.lists(st.sampled_from(groups), min_size=1, max_size=len(groups), unique=True))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))

    frame = pd.DataFrame({"label": column(classes), "prediction": column(classes)})
    for i in range(attributes):
        frame[f"group{i or ''}"] = column(some)
    return frame
