"""Charts of scores: ROC and calibration curves of several groups, told apart by colour, dash and symbol.

A *ROC curve* shows what a threshold buys (cases found) and what it costs (others taken for the class); a *calibration
curve* shows how often images of one score are of the class. Both have a straight line of reference.
"""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from visrec.ui import charts

AT_MOST = len(charts.SERIES)
"""More groups than this in one figure cannot be told apart."""


def roc_curves(curves: Mapping[str, pd.DataFrame], *, threshold: float | None = None) -> go.Figure:
    """ROC curves: false positive rate against true positive rate.

    Parameters
    ----------
    curves : by name (as it is to be read in the legend), frames with ``threshold`` (descending), ``fpr``, ``tpr``
    threshold : marks the point of each curve at this threshold
    """
    figure = _square("false positive rate", "true positive rate")
    figure.add(
        "scatter",
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": charts.RULE, "dash": "dot", "width": 1.5},
    )  # fmt: skip
    for i, (name, curve) in enumerate(list(curves.items())[:AT_MOST]):
        colour = charts.SERIES[i]
        figure.add(
            "scatter",
            x=curve["fpr"], y=curve["tpr"], mode="lines", name=charts.escape(name), customdata=curve["threshold"],
            line={"color": colour, "dash": charts.DASHES[i % len(charts.DASHES)], "width": 2},
            hovertemplate=f"{charts.escape(name)}<br>FPR %{{x:.4f}}, TPR %{{y:.4f}}<br>threshold %{{customdata:.4f}}"
            "<extra></extra>",
        )  # fmt: skip
        if threshold is not None and (curve["threshold"] >= threshold).any():
            at = curve[curve["threshold"] >= threshold].iloc[-1]
            figure.add(
                "scatter",
                x=[at["fpr"]], y=[at["tpr"]], mode="markers", showlegend=False,
                marker={"color": colour, "symbol": charts.SYMBOLS[i], "size": 11},
                hovertemplate=f"{charts.escape(name)} at {threshold:.3f}<br>FPR %{{x:.4f}}, TPR %{{y:.4f}}"
                "<extra></extra>",
            )  # fmt: skip
    return figure.figure()


def calibration_curves(curves: Mapping[str, pd.DataFrame], *, min_count: int = 1) -> go.Figure:
    """Calibration curves: mean score of a bin against the share labelled with the class, with Wilson intervals.

    Parameters
    ----------
    curves : by name, frames with ``score``, ``observed``, ``low``, ``high``, ``n``
    min_count : bins with fewer rows are left out: a share of three images is no point of a curve
    """
    figure = _square("mean score", "share labelled so")
    figure.add(
        "scatter",
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": charts.RULE, "dash": "dot", "width": 1.5},
    )  # fmt: skip
    for i, (name, whole) in enumerate(list(curves.items())[:AT_MOST]):
        curve, colour = whole[whole["n"] >= min_count], charts.SERIES[i]
        figure.add(
            "scatter",
            x=curve["score"], y=curve["observed"], mode="lines+markers", name=charts.escape(name),
            line={"color": colour, "dash": charts.DASHES[i % len(charts.DASHES)], "width": 1.5},
            marker={"color": colour, "symbol": charts.SYMBOLS[i], "size": 8},
            error_y={
                "type": "data", "symmetric": False, "color": colour, "thickness": 1.2, "width": 3,
                "array": curve["high"] - curve["observed"], "arrayminus": curve["observed"] - curve["low"],
            },
            customdata=curve["n"],
            hovertemplate=f"{charts.escape(name)}<br>score %{{x:.4f}}, labelled so %{{y:.4f}}<br>n = %{{customdata:,}}"
            "<extra></extra>",
        )  # fmt: skip
    return figure.figure()


def sweep_lines(table: pd.DataFrame) -> go.Figure:
    """A gap and the accuracy over all thresholds; ``threshold``, ``gap`` (NaN = unknown), ``accuracy``, all 0..1."""
    figure = _square("threshold", "share")
    for name, colour, dash in (("gap", charts.VERMILLION, "solid"), ("accuracy", charts.BLUE, "dash")):
        figure.add(
            "scatter",
            x=table["threshold"], y=table[name], mode="lines", name=name,
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{name} %{{y:.4f}} at %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
    return figure.figure()


def _square(x: str, y: str) -> charts.Sheet:
    figure = charts.Sheet(460, margin={"l": 58, "r": 8, "t": 10, "b": 110})
    figure.layout |= {"showlegend": True, "legend": {"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0}}
    figure.x_axis(title={"text": x, "font": {"size": 12}, "standoff": 4}, range=[-0.01, 1.01])
    figure.y_axis(title={"text": y, "font": {"size": 12}}, range=[-0.01, 1.01], showgrid=True, gridcolor=charts.FAINT)
    return figure
