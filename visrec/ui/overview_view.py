"""The headline of one run, in figures and sentences: whom it fails, what cannot be told, what would settle it.

A *saying* is a sentence with its numbers that an audit supports, or one that says plainly that it cannot tell. They
are made here from the audit's tables, so that a test can read them without a browser.
"""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from visrec.ui import audit_view, charts, charts_rows, widgets, wording

HEAD_RATE = {"correct": "accuracy"}
"""The rate an overview leads with: accuracy, or who gets the class when the outcome is a class."""


@dataclass(frozen=True)
class Card:
    """One figure of the headline: what it is, its value, and the line under it."""

    label: str
    value: str
    note: str
    help: str


def head_rate(outcome: str) -> str:
    """Which rate leads: accuracy for ``correct``; for a class its true positive rate, an error rate, not a quota.

    >>> head_rate("correct"), head_rate("Female")
    ('accuracy', 'tpr')
    """
    return HEAD_RATE.get(outcome, "tpr")


def cards(audit, rate: str) -> list[Card]:
    """The three figures: the overall rate, the worst group that stands out, the largest supported gap."""
    return [overall_card(audit, rate), worst_card(audit, rate), gap_card(audit)]


def overall_card(audit, rate: str) -> Card:
    """The rate over all rows with its interval and count."""
    row = audit.overall.iloc[0]
    value, low, high, n = (row[f"{rate}{end}"] for end in ("", "_low", "_high", "_n"))
    return Card(
        _capital(audit_view.rate_name(rate)),
        charts.rate_text(value),
        f"{charts.interval_text(low, high)} n = {charts.count_text(n)}".strip(),
        f"{audit_view.rate_meaning(rate)} With its 95 % interval. Value: {float(value)!r}.",
    )


def worst_card(audit, rate: str) -> Card:
    """The lowest group that differs from the rest beyond chance; without one, that is said."""
    found = standing_out(audit, rate)
    if found.empty:
        return Card(
            "Worst supported group",
            "none",
            f"of {judged(audit, rate):,} large enough to judge",
            "No group with enough images is below the rest by more than chance would show.",
        )
    row = found.iloc[0]
    cell = audit_view.rate_frame(audit_view.cells_of(audit), audit.by, rate).set_index("cell").loc[row["cell"]]
    return Card(
        f"Worst supported group: {row['cell']}",
        charts.rate_text(row["value"]),
        f"{charts.interval_text(cell['low'], cell['high'])} n = {charts.count_text(row['n'])}",
        f"The rest has {charts.rate_text(row['rest'])}. Value: {float(row['value'])!r}.",
    )


def gap_card(audit) -> Card:
    """The supported gap that exceeds chance the most, over each attribute alone and over the crossing."""
    best = largest_gap(audit)
    if best is None:
        return Card(
            "Largest supported gap",
            "none",
            "no gap exceeds what chance would show",
            "Every gap between groups could be chance at these counts; that is not proof of equality.",
        )
    over, row = best
    return Card(
        f"Largest supported gap: {audit_view.rate_name(row['rate'])} by {over}",
        charts.rate_text(row["value"]),
        f"{charts.interval_text(row['low'], row['high'])} chance alone {charts.rate_text(row['null_mean'])}",
        f"{row['worst']} against {row['best']}. Value: {float(row['value'])!r}.",
    )


def largest_gap(audit) -> tuple[str, pd.Series] | None:
    """Name of the crossing and the row of its gap table, or None when none is supported."""
    tables = {" × ".join(audit.by): audit.gaps, **audit.marginal_gaps}
    rows = [(over, row) for over, gaps in tables.items() for _, row in gaps[gaps["verdict"] == "supported"].iterrows()]
    return max(rows, key=lambda pair: pair[1]["excess"], default=None)


def standing_out(audit, rate: str) -> pd.DataFrame:
    """Groups whose rate is below the rest's beyond chance, the lowest first; rows of ``Audit.differences``."""
    table = audit.differences
    table = table[(table["rate"] == rate) & (table["verdict"] == "supported") & (table["difference"] < 0)]
    return table.sort_values("value", kind="stable")


def judged(audit, rate: str) -> int:
    """How many groups are large enough to judge."""
    table = audit.differences
    return int(((table["rate"] == rate) & ~table["too_few"]).sum())


def can_say(audit, rate: str, most: int = 4) -> list[str]:
    """Sentences that the data support."""
    found = standing_out(audit, rate)
    lines = [
        f"**{row['cell']}**: {audit_view.rate_name(rate)} {charts.rate_text(row['value'])} against "
        f"{charts.rate_text(row['rest'])} for everybody else (n = {charts.count_text(row['n'])})."
        for _, row in found.head(most).iterrows()
    ]
    if len(found) > most:
        more = len(found) - most
        lines.append(f"{more:,} more {'group is' if more == 1 else 'groups are'} below the rest beyond chance.")
    better = audit.differences.query("rate == @rate and verdict == 'supported' and difference > 0")
    if len(better):
        names = ", ".join(better.sort_values("value", ascending=False)["cell"].head(3))
        lines.append(f"{wording.count(len(better), 'group')} above the rest beyond chance, first {names}.")
    return lines or ["No group stands out from the rest by more than chance would show."]


def cannot_tell(audit, rate: str, most: int = 3) -> list[str]:
    """Sentences about what stays open: groups that may differ, and groups too small to judge."""
    table = audit.differences[audit.differences["rate"] == rate]
    open_ones = table[table["verdict"] == "cannot tell"]
    small = table[table["too_few"]].sort_values("n")
    lines = []
    if len(open_ones):
        low = ", ".join(open_ones.sort_values("value")["cell"].head(most))
        lines.append(
            f"{wording.count(len(open_ones), 'group')} may or may not differ from the rest; the lowest seen: {low}. "
            "That is not proof that they are alike."
        )
    if len(small):
        named = ", ".join(
            f"{row['cell']} (n = {charts.count_text(row['n'])})" for _, row in small.head(most).iterrows()
        )
        lines.append(
            f"{wording.count(len(small), 'group')} with fewer than {audit.question.min_count} images: unknown. "
            f"Among them {named}."
        )
    return lines or ["Every group is large enough, and each differs from the rest."]


def ranked(audit, rate: str, *, most: int | None = 10) -> pd.DataFrame:
    """Groups for the ranked chart: known ones from the lowest up, then unknown ones from the largest down.

    ``most`` keeps that many known and a third as many unknown ones; None keeps all.
    """
    frame = audit_view.rate_frame(audit_view.cells_of(audit), audit.by, rate)
    known = _in_order(audit, rate, frame[~frame["small"]])
    unknown = frame[frame["small"]].sort_values("n", ascending=False, kind="stable")
    if most is not None:
        known, unknown = known.head(most), unknown.head(max(1, most // 3))
    return pd.concat([known, unknown], ignore_index=True)


def _in_order(audit, rate: str, known: pd.DataFrame) -> pd.DataFrame:
    """From the worst up, by rates shrunken towards the mean: a small group does not lead by luck alone."""
    ranks = audit.ranking[audit.ranking["rate"] == rate].set_index("cell")["rank"]
    return known.iloc[ranks.reindex(known["cell"]).argsort(kind="stable").to_numpy()]


def worst_slices(audit, rate: str, most: int = 3) -> list[dict[str, list[str]]]:
    """The lowest known groups, as filters for a gallery."""
    frame = audit_view.rate_frame(audit_view.cells_of(audit), audit.by, rate)
    keys = audit.cells[list(audit.by)]
    order = _in_order(audit, rate, frame[~frame["small"]]).index[:most]
    return [{name: [str(keys.loc[i, name])] for name in audit.by} for i in order]


def settle(audit, rate: str, target: float, most: int = 4) -> list[str]:
    """Sentences of the planner: how many more images would show a gap of that size."""
    plan = audit.planner[audit.planner["rate"] == rate]
    gaps = plan.dropna(subset="smallest_gap").sort_values("smallest_gap")
    if gaps.empty:
        return ["No group could show any gap with the images there are."]
    first, last = gaps.iloc[0], gaps.iloc[-1]
    lines = [
        f"With the images there are, a true gap shows four times in five from {first['smallest_gap']:.2f} on "
        f"({first['cell']}) up to {last['smallest_gap']:.2f} ({last['cell']})."
    ]
    needs = plan[(plan["more_images"] > 0) & (plan["more_images"] < 1e9)].sort_values("more_images")
    named = [f"{row['cell']} {charts.count_text(row['more_images'])}" for _, row in needs.head(most).iterrows()]
    if named:
        lines.append(f"To show a gap of {target:.2f}, more images are needed: {', '.join(named)}.")
    if len(needs) > most:
        lines.append(f"{len(needs) - most} other groups need more than that; the Metrics page lists them all.")
    return lines


def draw_cards(found: list[Card]) -> None:
    """The headline, as cards of equal height that stack on a narrow screen."""
    for place, card in zip(st.columns([2, 3, 3]), found, strict=False):  # a lone card keeps its width
        with place.container(border=True, height="stretch"):
            st.caption(widgets.escape(card.label), help=widgets.escape(card.help))
            st.subheader(card.value, anchor=False)
            st.caption(widgets.escape(card.note))


def draw_ranking(audit, rate: str) -> None:
    """The ranked groups, the worst first, with a switch to all of them."""
    total = audit.table.size
    everything = st.toggle(f"All {total:,} groups", key="overview_all") if total > 13 else True
    shown = ranked(audit, rate, most=None if everything else 10)
    overall = float(audit.overall.iloc[0][rate])
    unknown = int(shown["small"].sum())
    summary = (
        f"{len(shown):,} of {wording.count(total, 'group')}, the lowest first (small groups count for less in the "
        "order); dot and 95 % interval."
    )
    if unknown:
        summary += f" Hatched: fewer than {audit.question.min_count} images, so unknown."
    name = audit_view.rate_name(rate)
    audit_view.show_chart(
        charts_rows.cell_dots(shown, overall=overall, reference="all rows", title=name), summary, key="overview_cells"
    )
    audit_view.numbers(lambda: ranked(audit, rate, most=None), "overview_groups", rates=["value", "low", "high"])


def draw_meaning(audit, rate: str) -> None:
    """What can be said, what cannot, and what would settle it."""
    sections = {
        ":material/check_circle: What we can say": can_say(audit, rate),
        ":material/help: What we cannot tell": cannot_tell(audit, rate),
        ":material/flag: What would settle it": settle(audit, rate, audit_view.TARGET_GAP),
    }
    for title, lines in sections.items():
        st.subheader(title, anchor=False)
        st.markdown("\n".join(f"- {line}" for line in lines))
    st.caption(
        "*Supported* means that chance alone explains it in fewer than 5 of 100 audits like this one, all groups taken "
        "together. Trying many slices and filters in turn is not covered."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
