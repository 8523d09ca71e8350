"""A heat table: groups by metrics, each square with its number, unknown squares hatched."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from visrec.ui import charts


def heat_table(
    values: pd.DataFrame, *, counts: pd.DataFrame | None = None, small: pd.DataFrame | None = None
) -> go.Figure:
    """Groups by metrics, each square with its number; unknown squares hatched.

    Each column is coloured by its own ideal-free spread (cividis from the column's lowest to its highest known value),
    so that the eye compares groups within a metric, never one metric with another.

    Parameters
    ----------
    values : index = groups, columns = metrics, NaN = unknown
    counts : same shape, the count under each value, for the hover
    small : same shape, bool: below the minimum count
    """
    known = values.astype(float).where(~small) if small is not None else values.astype(float)
    low, high = known.min(), known.max()
    level = (known - low) / (high - low).replace(0, np.nan)
    level = level.where(level.notna() | known.isna(), 0.5).to_numpy(float)
    rows, columns = level.shape
    lines = max((str(name).count(" ") + 1 for name in values.columns), default=1)
    top = 20 + 16 * lines
    figure = charts.Sheet(rows * 30 + top + 12, margin={"t": top, "b": 10, "l": 8, "r": 8})
    numbers = (counts if counts is not None else values * np.nan).to_numpy(float)
    figure.add(
        "heatmap",
        z=level,
        customdata=np.dstack([values.to_numpy(float), numbers]),
        hovertext=_heat_words(values),
        hovertemplate="%{hovertext}: %{customdata[0]:.6f}<br>n = %{customdata[1]:,}<extra></extra>",
        colorscale=charts.SEQUENTIAL,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
    )
    unknown = [(j - 0.49, i - 0.46, j + 0.49, i + 0.46) for i, j in zip(*np.nonzero(np.isnan(level)), strict=True)]
    figure.hatch(unknown)
    words = known.map(charts.rate_text).where(known.notna(), "").to_numpy().ravel()
    figure.add(
        "scatter",
        x=np.tile(np.arange(columns), rows),
        y=np.repeat(np.arange(rows), columns),
        text=words,
        mode="text",
        textfont={"size": 12, "color": charts.ink_on(level.ravel(), charts.SEQUENTIAL)},
        hoverinfo="skip",
    )
    figure.x_axis(
        side="top",
        showgrid=False,
        range=[-0.5, columns - 0.5],
        tickvals=list(range(columns)),
        ticktext=[charts.escape(m).replace(" ", "<br>") for m in values.columns],
        tickangle=0,
    )
    figure.y_axis(
        range=[rows - 0.5, -0.5],
        tickvals=list(range(rows)),
        ticktext=[charts.escape(g) for g in values.index],
        automargin=True,
    )
    return figure.figure()


def _heat_words(values: pd.DataFrame) -> list[list[str]]:
    return [
        [f"{charts.escape(group)}<br>{charts.escape(metric)}" for metric in values.columns] for group in values.index
    ]
