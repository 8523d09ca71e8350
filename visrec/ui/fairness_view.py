"""The Metrics page in parts: gaps beside chance, rates of every group, pairs, images needed.

Only the section that is open is computed: AIF360 takes seconds to import, and a slicer must answer at once.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_heat, charts_rows, widgets, wording

SECTION = "section"
GAPS, AIF360, PAIRS, IMAGES, SCORES = "Gaps and rates", "AIF360 metrics", "Pairs", "Images needed", "Scores"
SECTIONS = (GAPS, AIF360, PAIRS, IMAGES, SCORES)
ERRORS_FIRST = ("accuracy", "tpr", "fpr", "tnr", "fnr", "ppv", "npv", "fdr", "for", "balanced_accuracy", "f1",
                "missing", "selection_rate")  # fmt: skip
"""Error rates lead, selection rates come last: who is failed matters before who is chosen."""

COMPLEMENTS = ("fnr", "tnr", "fdr", "for")
"""One minus another rate: in the tables, but not drawn twice."""

MOST_ROWS = 14
MOST_OF_HEAT = 40
"""Groups in the heat table of rates at most."""

INSIDE = (
    "A gap inside the grey band can still be supported. Small groups make the band wide; the verdict compares every "
    "two groups at their own sizes, and at least two are further apart than chance allows."
)


def choose_section() -> str:
    """Which part of the page is open; kept in the URL."""
    return st.segmented_control(
        "Section", SECTIONS, default=GAPS, key=SECTION, bind="query-params", required=True,
        label_visibility="collapsed",
    )  # fmt: skip


def ordered_rates(rates: Sequence[str]) -> list[str]:
    """Rates with the kinds of error first.

    >>> ordered_rates(["selection_rate", "fpr", "accuracy"])
    ['accuracy', 'fpr', 'selection_rate']
    """
    return sorted(rates, key=lambda r: ERRORS_FIRST.index(r) if r in ERRORS_FIRST else len(ERRORS_FIRST))


def gap_frame(gaps: pd.DataFrame) -> pd.DataFrame:
    """A gap table as `charts_rows.gap_rows` draws it; a rate and its complement share one row."""
    from visrec.audit.rates import COMPLEMENT

    place = {rate: i for i, rate in enumerate(gaps["rate"])}
    shown = [rate for rate in ordered_rates(list(place)) if rate not in COMPLEMENT]
    if "accuracy" in place and "tpr" not in place:
        shown = [rate for rate in shown if rate != "selection_rate"]  # for the outcome `correct` the two are one
    rows = [place[rate] for rate in shown]
    columns = ("value", "low", "high", "null_low", "null_mean", "null_high", "verdict")
    names = [audit_view.rate_name(rate) for rate in shown]
    return pd.DataFrame({c: gaps[c].to_numpy()[rows] for c in columns} | {"name": names, "ideal": 0.0})


def draw_gaps(audit) -> None:
    """The gap of every rate, what it means, and its numbers."""
    from visrec.audit.document import family_of

    over = {" × ".join(audit.by): audit.by, **{name: (name,) for name in audit.by}}
    chosen = st.segmented_control(
        "Between groups by", list(over), default=next(iter(over)), key="gaps_over", bind="query-params", required=True
    ) if len(over) > 1 else next(iter(over))  # fmt: skip
    by = over.get(chosen, audit.by)
    gaps = audit.gaps if by == audit.by else audit.marginal_gaps[by[0]]
    picture, words = st.columns([3, 2], gap="large")
    frame = gap_frame(gaps)
    with picture:
        audit_view.show_chart(
            charts_rows.gap_rows(frame, title="largest minus smallest rate among the groups"),
            "Grey: what chance alone would show if all groups were alike. Dot and line: the gap seen and its 95 % "
            "interval. Filled: supported; hollow: cannot tell.",
            key="fairness_gaps",
        )
    with words:
        st.subheader("What this says", anchor=False)
        st.markdown("\n".join(gap_lines(gaps, frame["name"].tolist())))
        inside = frame["value"].to_numpy() <= frame["null_high"].to_numpy()
        told = [INSIDE] if (inside & (frame["verdict"] == "supported").to_numpy()).any() else []
        st.caption("\n\n".join([*told, widgets.escape(family_of(gaps, by))]))
    audit_view.numbers(
        gaps, f"gaps_{'_'.join(by)}", label="Gaps as a table",
        rates=["value", "low", "high", "null_low", "null_mean", "null_high", "excess", "p", "p_holm", "worst_value",
               "best_value"],
    )  # fmt: skip


def gap_lines(gaps: pd.DataFrame, rates: Sequence[str] | None = None) -> list[str]:
    """What each gap says, as Markdown: by verdict, with the two groups at its ends.

    ``rates`` are the names, as `gap_frame` writes them, of those that are told; None tells all.
    """
    lines = []
    columns = ("rate", "verdict", "worst", "worst_value", "best", "best_value")
    records = (dict(zip(columns, row, strict=True)) for row in zip(*(gaps[c].tolist() for c in columns), strict=True))
    by_rate = {row["rate"]: row for row in records if rates is None or audit_view.rate_name(row["rate"]) in rates}
    rows = [by_rate[rate] for rate in ordered_rates(list(by_rate))]
    supported = [row for row in rows if row["verdict"] == "supported"]
    if supported:
        lines.append("**More than chance** (supported):")
        lines += [
            f"- {audit_view.rate_name(row['rate'])}: {widgets.escape(row['worst'])} "
            f"{charts.rate_text(row['worst_value'])} against {widgets.escape(row['best'])} "
            f"{charts.rate_text(row['best_value'])}"
            for row in supported
        ]
    for verdict, words in (
        ("cannot tell", "**Perhaps chance** (cannot tell), which is not proof that the groups are alike:"),
        ("too few images", "**Unknown** (fewer than two groups are large enough):"),
    ):
        names = [audit_view.rate_name(row["rate"]) for row in rows if row["verdict"] == verdict]
        if names:
            lines.append(f"\n{words} {', '.join(names)}.")
    return lines


def draw_rates(audit) -> None:
    """One rate of every group with its interval, then all rates as a heat table."""
    cells, overall = audit_view.cells_of(audit), audit.overall.iloc[0]
    known = [r for r in ordered_rates(charts_order(cells)) if cells[f"{r}_n"].to_numpy().any()]
    known = [r for r in known if r != "missing" or cells["absent"].sum()]
    st.subheader("Rates of each group", anchor=False)
    rate = st.selectbox(
        "Rate", known, key="rate", bind="query-params", format_func=lambda r: wording.nice(audit_view.rate_name(r)),
        width=300,
    )  # fmt: skip
    st.caption(audit_view.rate_meaning(rate))
    frame = audit_view.rate_frame(cells, audit.by, rate)
    frame = frame.sort_values(["small", "value"], kind="stable").reset_index(drop=True)
    everything = len(frame) <= MOST_ROWS or st.toggle(f"All {len(frame):,} groups", key="rates_all")
    shown = frame if everything else ends_of(frame)
    summary = f"{len(shown):,} of {wording.count(len(frame), 'group')}, Wilson intervals at 95 %."
    if shown["small"].any():
        summary += f" Hatched: the rate rests on fewer than {audit.question.min_count} rows, so it is unknown."
    if len(cells) > MOST_OF_HEAT:
        summary += f"\n\n{len(cells):,} groups are too many for a heat table; the table below holds all of them."
    audit_view.show_chart(
        charts_rows.cell_dots(
            shown, overall=float(overall[rate]), reference="all rows", title=audit_view.rate_name(rate)
        ),
        summary,
        key="fairness_rates",
    )
    if len(cells) <= MOST_OF_HEAT:
        draw_heat(audit, cells, [r for r in known if r not in COMPLEMENTS])
    columns = [c for r in known for c in (r, f"{r}_low", f"{r}_high")]
    audit_view.numbers(
        cells, f"rates_{'_'.join(audit.by)}", label="All rates as a table", rates=["base_rate", *columns]
    )


def charts_order(cells: pd.DataFrame) -> list[str]:
    """The rates that a cell table holds."""
    from visrec.audit.rates import RATES

    return [rate for rate in RATES if f"{rate}_n" in cells]


def ends_of(frame: pd.DataFrame, most: int = MOST_ROWS) -> pd.DataFrame:
    """The lowest and the highest known groups and a few unknown ones, where there are too many to show all."""
    small = frame["small"].to_numpy(bool)
    known, few = np.flatnonzero(~small), np.flatnonzero(small)[:2]
    room = most - len(few)
    if len(known) > room:
        known = np.concatenate([known[: room - room // 2], known[len(known) - room // 2 :]])
    return frame.take(np.concatenate([known, few])).reset_index(drop=True)


def draw_heat(audit, cells: pd.DataFrame, rates: Sequence[str]) -> None:
    """Groups by rates in one picture."""
    frames = {rate: audit_view.rate_frame(cells, audit.by, rate).set_index("cell") for rate in rates}
    names = {rate: audit_view.rate_name(rate) for rate in rates}
    pick = {
        column: pd.DataFrame({names[r]: f[column] for r, f in frames.items()}) for column in ("value", "n", "small")
    }
    figure = charts_heat.heat_table(pick["value"], counts=pick["n"], small=pick["small"])
    wide(figure, 72 * len(rates) + 140, "rates_heat")
    st.caption("Each column has its own colour scale, yellow its highest value; hatched is unknown.")


def wide(figure, width: int, key: str) -> None:
    """Draw a chart that scrolls sideways where the page is narrower than it needs."""
    with audit_view.sideways(f"{key}_scroll", width):
        widgets.chart(figure, key=key)


def draw_pairs(audit) -> None:
    """Every pair of groups, the clearest first."""
    pairs = audit.pairs
    if pairs.empty:
        st.info(
            f"Fewer than two groups have {audit.question.min_count} images, so no pair can be compared. Lower the "
            "minimum count in the sidebar, or split by less."
        )
        return
    supported = int((pairs["verdict"] == "supported").sum())
    st.markdown(
        f"**{supported:,} of {wording.count(len(pairs), 'comparison')}** of two groups are more than chance, after "
        "Holm's correction over all of them."
    )
    only = st.toggle("Only the supported ones", key="pairs_supported", value=supported > 0)
    shown = pairs[pairs["verdict"] == "supported"] if only else pairs
    display = pd.DataFrame(
        {
            "Rate": shown["rate"].map(audit_view.rate_name),
            "Higher": shown["a"],
            "Lower": shown["b"],
            "Higher rate": shown["value_a"],
            "Lower rate": shown["value_b"],
            "Difference": shown["difference"],
            "95 % interval": [
                charts.interval_text(a, b).strip("()") for a, b in zip(shown["low"], shown["high"], strict=True)
            ],
            "Bootstrap": [
                charts.interval_text(a, b).strip("()")
                for a, b in zip(shown["boot_low"], shown["boot_high"], strict=True)
            ],
            "n higher": shown["n_a"],
            "n lower": shown["n_b"],
            "p (Holm)": shown["p_holm"],
            "Verdict": shown["verdict"],
        }
    )
    three = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        display.head(1000), hide_index=True, width="stretch", alt="Pairs of groups, the clearest first",
        column_config=dict.fromkeys(["Higher rate", "Lower rate", "Difference", "p (Holm)"], three),
    )  # fmt: skip
    st.caption(
        "The 95 % interval is Newcombe's; the bootstrap (2,000 draws of the table) stands beside it for the 2,000 "
        "clearest pairs and is too narrow where a group is small or without an error."
    )
    widgets.download_csv(pairs, f"pairs_{'_'.join(audit.by)}")


def draw_planner(audit) -> None:
    """What each group could show today, and how many more images it needs."""
    from visrec.audit.planner import plan

    rates = ordered_rates(list(dict.fromkeys(audit.planner["rate"]))) if len(audit.planner) else []
    if not rates:
        st.info("There is nothing to plan: no group has a row.")
        return
    left, right = st.columns(2)
    with left:
        rate = st.selectbox(
            "Rate", rates, key="plan_rate", bind="query-params",
            format_func=lambda r: wording.nice(audit_view.rate_name(r)),
        )  # fmt: skip
    with right:
        target = st.slider(
            "Gap that should show", 0.01, 0.30, audit_view.TARGET_GAP, 0.01, key="plan_gap", bind="query-params"
        )
    table = audit.planner if target == audit_view.TARGET_GAP else plan(audit.table, audit.question, target)
    table = table[table["rate"] == rate].sort_values("more_images", na_position="last", kind="stable")
    enough = int((table["more_images"] == 0).sum())
    st.markdown(
        f"**{enough:,} of {wording.count(len(table), 'group')}** have enough images to show a gap of {target:.2f} to "
        "the rest four times in five (80 % power, two-sided 5 %, shared over all groups)."
    )
    display = pd.DataFrame(
        {
            "Group": table["cell"],
            "n": table["n"],
            "Rate of the rest": table["rest"],
            "Smallest gap it could show today": table["smallest_gap"],
            "More images for this gap": table["more_images"].where(np.isfinite(table["more_images"])),
            "More rows of the group": table["more_rows"].where(np.isfinite(table["more_rows"])),
        }
    )
    three, whole = st.column_config.NumberColumn(format="%.3f"), st.column_config.NumberColumn(format="localized")
    st.dataframe(
        display, hide_index=True, width="stretch", alt="Images each group needs",
        column_config={
            "Rate of the rest": three, "Smallest gap it could show today": three, "More images for this gap": whole,
            "More rows of the group": whole,
        },
    )  # fmt: skip
    st.caption("Empty: no number of images would be enough, because the rest is too small or the gap is not possible.")
    widgets.download_csv(table, f"planner_{rate}")


def draw_scan(audit) -> None:
    """The worst subgroup found without being told where to look."""
    if st.toggle("Look for the worst subgroup over all attributes", key="scan", bind="query-params"):
        with st.spinner("Scanning subgroups"):
            found = audit.subset
        st.markdown(widgets.escape(found.sentence()))
