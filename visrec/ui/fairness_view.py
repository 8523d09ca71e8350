"""The Metrics page in parts: gaps beside chance, rates of every group, AIF360's metrics, pairs, images needed.

Only the section that is open is computed: AIF360 takes seconds to import, and a slicer must answer at once.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_rates, state, widgets, wording

SECTION = "section"
GAPS, AIF360, PAIRS, IMAGES, SCORES = "Gaps and rates", "AIF360 metrics", "Pairs", "Images needed", "Scores"
SECTIONS = (GAPS, AIF360, PAIRS, IMAGES, SCORES)
ERRORS_FIRST = ("accuracy", "tpr", "fpr", "tnr", "fnr", "ppv", "npv", "fdr", "for", "balanced_accuracy", "f1",
                "missing", "selection_rate")  # fmt: skip
"""Error rates lead, selection rates come last: who is failed matters before who is chosen."""

COMPLEMENTS = ("fnr", "tnr", "fdr", "for")
"""One minus another rate: in the tables, but not drawn twice."""

MOST_ROWS = 14
REST = "everybody else"


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


# --- gaps and rates


def gap_frame(gaps: pd.DataFrame) -> pd.DataFrame:
    """A gap table as `charts_rates.gap_rows` draws it; a rate and its complement share one row."""
    from visrec.audit.rates import COMPLEMENT

    shown = gaps[~gaps["rate"].isin(list(COMPLEMENT))].set_index("rate", drop=False)
    shown = shown.loc[ordered_rates(shown.index)]
    if "accuracy" in shown.index and "selection_rate" in shown.index and not (gaps["rate"] == "tpr").any():
        shown = shown.drop(index="selection_rate")  # for the outcome `correct` the two are one
    names = [audit_view.rate_name(rate) for rate in shown["rate"]]
    columns = ["value", "low", "high", "null_low", "null_mean", "null_high", "verdict"]
    return shown[columns].reset_index(drop=True).assign(name=names, ideal=0.0)


def draw_gaps(audit) -> None:
    """The gap of every rate, what it means, and its numbers."""
    from visrec.audit.document import family_text

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
            charts_rates.gap_rows(frame, title="largest minus smallest rate among the groups"),
            "Grey: what chance alone would show if all groups were alike. Dot and line: the gap seen and its 95 % "
            "interval. Filled: supported; hollow: cannot tell.",
            key="fairness_gaps",
        )
    with words:
        st.subheader("What this says", anchor=False)
        st.markdown("\n".join(gap_lines(gaps[gaps["rate"].map(audit_view.rate_name).isin(frame["name"])])))
        if ((frame["verdict"] == "supported") & (frame["value"] <= frame["null_high"])).any():
            st.caption(
                "A gap inside the grey band can still be supported: the verdict looks at every pair of groups at its "
                "own size, and some pair of larger groups differs more than chance allows."
            )
        st.caption(widgets.escape(family_text(audit)))
    audit_view.numbers(
        gaps, f"gaps_{'_'.join(by)}", label="Gaps as a table",
        rates=["value", "low", "high", "null_low", "null_mean", "null_high", "excess", "p", "p_holm", "worst_value",
               "best_value"],
    )  # fmt: skip


def gap_lines(gaps: pd.DataFrame) -> list[str]:
    """What each gap says, as Markdown: by verdict, with the two groups at its ends."""
    lines = []
    gaps = gaps.set_index("rate", drop=False).loc[ordered_rates(gaps["rate"])]
    supported = gaps[gaps["verdict"] == "supported"]
    if len(supported):
        lines.append("**More than chance** (supported):")
        lines += [
            f"- {audit_view.rate_name(row['rate'])}: {widgets.escape(row['worst'])} "
            f"{charts.rate_text(row['worst_value'])} against {widgets.escape(row['best'])} "
            f"{charts.rate_text(row['best_value'])}"
            for row in supported.to_dict("records")
        ]
    for verdict, words in (
        ("cannot tell", "**Perhaps chance** (cannot tell), which is not proof that the groups are alike:"),
        ("too few images", "**Unknown** (fewer than two groups are large enough):"),
    ):
        names = [audit_view.rate_name(rate) for rate in gaps.loc[gaps["verdict"] == verdict, "rate"]]
        if names:
            lines.append(f"\n{words} {', '.join(names)}.")
    return lines


def draw_rates(audit) -> None:
    """One rate of every group with its interval, then all rates as a heat table."""
    cells, overall = audit_view.cells_of(audit), audit.overall.iloc[0]
    known = [r for r in ordered_rates(charts_order(cells)) if cells[f"{r}_n"].sum()]
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
    if frame["small"].any():
        summary += f" Hatched: the rate rests on fewer than {audit.question.min_count} rows, so it is unknown."
    audit_view.show_chart(
        charts_rates.cell_dots(
            shown, overall=float(overall[rate]), reference="all rows", title=audit_view.rate_name(rate)
        ),
        summary,
        key="fairness_rates",
    )
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
    known, small = frame[~frame["small"]], frame[frame["small"]]
    few = small.head(min(len(small), 2))
    room = most - len(few)
    if len(known) > room:
        known = pd.concat([known.head(room - room // 2), known.tail(room // 2)])
    return pd.concat([known, few], ignore_index=True)


def draw_heat(audit, cells: pd.DataFrame, rates: Sequence[str]) -> None:
    """Groups by rates in one picture, for up to 40 groups."""
    if len(cells) > 40:
        st.caption(f"{len(cells):,} groups are too many for a heat table; the table below holds all of them.")
        return
    frames = {rate: audit_view.rate_frame(cells, audit.by, rate).set_index("cell") for rate in rates}
    names = {rate: audit_view.rate_name(rate) for rate in rates}
    pick = {
        column: pd.DataFrame({names[r]: f[column] for r, f in frames.items()}) for column in ("value", "n", "small")
    }
    figure = charts_rates.heat_table(pick["value"], counts=pick["n"], small=pick["small"])
    _wide(figure, 72 * len(rates) + 140, "rates_heat")
    st.caption("Each column has its own colour scale, yellow its highest value; hatched is unknown.")


def _wide(figure, width: int, key: str) -> None:
    """Draw a chart that scrolls sideways where the page is narrower than it needs."""
    with audit_view.sideways(f"{key}_scroll", width):
        audit_view.draw(figure, key=key)


# --- AIF360


def choose_groups(view: "state.View", by: Sequence[str]) -> tuple[str, str, str]:
    """The privileged group and whom it is compared with: attribute, value, value of the others or `REST`."""
    attribute = by[0]
    left, middle, right = st.columns(3)
    with left:
        if len(by) > 1:
            attribute = st.selectbox("Compare by", by, key="compare_by", bind="query-params", format_func=wording.nice)
    table = audit_view.audit_of(view, by).cube.table((attribute,))
    values, counts = [key[0] for key in table.keys], table.predicted
    with middle:
        chosen = st.selectbox(
            "Privileged group", values, int(np.argmax(counts)), key="privileged", bind="query-params",
            help="AIF360 needs one reference group. Differences are the others minus it, ratios the others divided "
            "by it.",
        )  # fmt: skip
    with right:
        others = st.selectbox(
            "Compared with", [REST, *(v for v in values if v != chosen)], key="versus", bind="query-params"
        )
    return attribute, chosen, others


def aif360_audit(view: "state.View", by: Sequence[str], attribute: str, privileged: str, versus: str):
    """The audit that AIF360's metrics are taken from: filtered to the two groups when one is compared with one."""
    import dataclasses

    if versus != REST:
        view = dataclasses.replace(view, where={**view.where, attribute: [privileged, versus]})
    return audit_view.audit_of(view, by, privileged=((attribute, (privileged,)),))


FAMILIES = {
    "Differences": ("unprivileged minus privileged", "alike"),
    "Ratios": ("unprivileged divided by privileged", "alike"),
    "Differential fairness": ("largest log ratio between any two groups", "alike"),
    "Entropy": ("inequality of right and wrong answers", "alike"),
}
"""AIF360's comparisons by unit: only what has one unit may share an axis."""


def family_of(metric: str, ideal: float) -> str:
    """Which chart a comparison belongs to.

    >>> family_of("disparate_impact", 1.0), family_of("average_odds_difference", 0.0)
    ('Ratios', 'Differences')
    >>> family_of("smoothed_empirical_differential_fairness", 0.0), family_of("between_group_theil_index", 0.0)
    ('Differential fairness', 'Entropy')
    """
    if ideal == 1:
        return "Ratios"
    if "differential_fairness" in metric:
        return "Differential fairness"
    return "Entropy" if metric.startswith("between_") else "Differences"


def metric_rows(table: pd.DataFrame, family: str) -> pd.DataFrame:
    """The comparisons of one of `FAMILIES`, as `charts_rates.gap_rows` draws them; aliases are in the table only."""
    from visrec.audit.formulas import ALIASES
    from visrec.audit.metric_text import aif360_text

    shown = table[(table["kind"] == "comparison") & ~table["metric"].isin(list(ALIASES))]
    shown = shown[~shown["metric"].str.startswith("labels_") | shown["metric"].str.contains("differential")]
    families = [family_of(m, i) for m, i in zip(shown["metric"], shown["ideal"], strict=True)]
    shown = shown[np.array(families, dtype=object) == family]
    names = [aif360_text(metric).title for metric in shown["metric"]]
    return shown.reset_index(drop=True).assign(name=names)


def metric_display(table: pd.DataFrame) -> pd.DataFrame:
    """The AIF360 table for people: rounded text, one plain sentence each."""
    from visrec.audit.metric_text import aif360_text

    def ends(row, low: str, high: str) -> str:
        if not np.isfinite([row[low], row[high]]).all():
            return ""
        return f"{charts.rate_text(row[low])} to {charts.rate_text(row[high])}"

    rows = []
    for row in table.to_dict("records"):
        text = aif360_text(row["metric"])
        rows.append(
            {
                "Metric": text.title,
                "Value": row["value"],
                "95 % interval": ends(row, "low", "high"),
                "Chance alone": ends(row, "null_low", "null_high"),
                "Ideal": row["ideal"],
                "Convention": ends(row, "band_low", "band_high"),
                "Verdict": row["verdict"] or "",
                "In plain words": text.plain,
                "Formula": text.definition,
                "Name in AIF360": row["metric"],
            }
        )
    return pd.DataFrame(rows)


def draw_aif360(view: "state.View", by: Sequence[str]) -> None:
    """Controls, charts, table, and each group against the rest."""
    attribute, privileged, versus = choose_groups(view, by)
    audit = aif360_audit(view, by, attribute, privileged, versus)
    with st.spinner("Asking AIF360 (its first use takes some seconds)"):
        table = audit.aif360
    st.caption(
        f"Privileged: {wording.nice(attribute)} {widgets.escape(privileged)}. Compared with: {widgets.escape(versus)}. "
        f"Outcome: {widgets.escape(audit.question.outcome)}. Conventional bands are shown in the table; they decide "
        "nothing."
    )
    left, right = st.columns(2, gap="large")
    for family in FAMILIES:
        with left if family == "Differences" else right:
            _metric_chart(metric_rows(table, family), family)
    st.subheader("All metrics", anchor=False)
    compares = table[table["kind"] == "comparison"]
    everything = st.toggle("Rates and counts too", key="aif360_all")
    shown = metric_display(table if everything else compares)
    number = st.column_config.NumberColumn
    st.dataframe(
        shown, hide_index=True, width="stretch", alt="Every AIF360 metric with interval, chance band and verdict",
        column_config={"Value": number(format="%.3f"), "Ideal": number(format="%.0f")},
    )  # fmt: skip
    widgets.download_csv(table, f"aif360_{attribute}_{widgets.file_stem(privileged)}")
    if versus == REST and st.toggle("Each group against the rest", key="aif360_groups"):
        _draw_each_group(audit)


def _metric_chart(rows: pd.DataFrame, family: str) -> None:
    if rows.empty:
        if family == "Differences":
            st.info("Nothing to compare here: choose a class as outcome in the sidebar to see error rates apart.")
        return
    title, ideal_name = FAMILIES[family]
    st.subheader(family, anchor=False)
    audit_view.show_chart(
        charts_rates.gap_rows(rows, title=title, ideal_name=ideal_name),
        "Grey: chance alone. Dot and line: value and 95 % interval.",
        key=f"aif360_{family}",
    )


def _draw_each_group(audit) -> None:
    with st.spinner("Asking AIF360 about each group"):
        table = audit.aif360_groups
    wanted = ["statistical_parity_difference", "true_positive_rate_difference", "false_positive_rate_difference",
              "error_rate_difference", "average_abs_odds_difference", "disparate_impact"]  # fmt: skip
    shown = table[table["by"] == (" × ".join(audit.by) if len(table) <= 60 else audit.by[0])]
    values = shown.set_index("group")[[c for c in wanted if c in shown and shown[c].notna().any()]]
    if len(values.columns):
        small = pd.DataFrame(
            np.repeat((shown["n"] < audit.question.min_count).to_numpy()[:, None], len(values.columns), axis=1),
            index=values.index, columns=values.columns,
        )  # fmt: skip
        counts = small.astype(float).mul(0).add(shown.set_index("group")["n"], axis=0)
        names = {c: c.replace("_", " ") for c in values.columns}
        figure = charts_rates.heat_table(
            values.rename(columns=names), counts=counts.rename(columns=names), small=small.rename(columns=names)
        )
        _wide(figure, 96 * len(values.columns) + 150, "aif360_heat")
    audit_view.numbers(table, "aif360_groups", label="Each group against the rest, as a table")


# --- pairs, planner


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
