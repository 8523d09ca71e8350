"""The words of the dashboard: every sentence that more than one page says, and numbers rounded for people."""

import math

FAULT = (
    "Something went wrong on our side (reference {reference}). Nothing of yours is lost. "
    "Reload the page; if it happens again, the server's log tells more under this reference."
)
MISSING = (
    "The library '{library}' is not installed, and this page needs it. Everything else works without. "
    "Install it with `pip install -r requirements.txt`, then reload the page."
)
LOGIN = "This dashboard asks who you are before it shows anything."
OPEN_TO_ALL = "No login is configured: this page is open to whoever reaches it."
NOT_FOR = (
    "Labels of people are perceived labels. This tool measures classifiers; it is not for deciding about individuals, "
    "nor for inferring who somebody is."
)

NO_RUN = "No run yet"
NO_RUN_NEXT = "Everything on this page hangs on a run: a trained model with its predictions. Training is one button."
NO_PREDICTION = (
    "No prediction here",
    "The model gave no prediction for any row of this slice, so there is nothing to measure. Widen the filters in the "
    "sidebar.",
)
NO_ROWS = "No rows left"
NO_ROWS_NEXT = "The filters in the sidebar exclude every row of this run."

STATES = {
    "queued": "waiting for its turn",
    "running": "training",
    "cancelling": "being cancelled",
    "cancelled": "cancelled",
    "failed": "failed",
    "lost": "lost",
    "done": "finished",
}

STATE_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "cancelling": ":material/stop_circle:",
    "cancelled": ":material/cancel:",
    "failed": ":material/error:",
    "lost": ":material/signal_disconnected:",
    "done": ":material/check_circle:",
}

UNFINISHED = {
    "queued": ("It has not started yet; its predictions come at the end.", "Follow it", "train"),
    "running": ("Its predictions come at the end of training.", "Follow it", "train"),
    "cancelling": ("It is being cancelled and will leave no predictions.", "Train another", "train"),
    "cancelled": ("It was cancelled before it had predictions.", "Train another", "train"),
    "failed": ("It failed before it had predictions.", "See what happened", "train"),
    "lost": ("Its process fell silent before it had predictions.", "See what happened", "train"),
}

SPLIT_HELP = "Which rows are audited. Only test and val rows tell how the model does on images nothing was chosen on."
OUTCOME_HELP = (
    "What counts as a good outcome: a correct prediction (whom does the model fail?), "
    "or one class being predicted (who gets this label?)."
)
MIN_COUNT_HELP = "Groups with fewer rows are shown as unknown: their rates say little."


def nice(name: str) -> str:
    """A column name as a label.

    >>> nice("service_test")
    'Service test'
    """
    text = str(name).replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def number(value: float | None, digits: int = 3) -> str:
    """A rate rounded for people; unknown stays unknown.

    >>> number(0.94123), number(float("nan")), number(None)
    ('0.941', 'unknown', 'unknown')
    """
    if value is None or math.isnan(value):
        return "unknown"
    return f"{value:.{digits}f}"


def interval(metric: dict) -> str:
    """The interval of a metric {value, low, high}, rounded for people.

    >>> interval({"low": 0.66123, "high": 0.81}), interval({})
    ('0.661 to 0.810', 'unknown')
    """
    low, high = metric.get("low"), metric.get("high")
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "unknown"
    return f"{low:.3f} to {high:.3f}"


def count(n: int, thing: str = "", things: str | None = None) -> str:
    """A count with thousands separated and its noun in the right number.

    >>> count(1122, "image"), count(1, "image"), count(2, "class", "classes")
    ('1,122 images', '1 image', '2 classes')
    """
    if not thing:
        return f"{n:,}"
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


def duration(seconds: float) -> str:
    """A time span as one says it.

    >>> duration(4), duration(75), duration(610), duration(7290)
    ('4 s', '1 min 15 s', '10 min', '2 h 1 min')
    """
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def date(iso: str) -> str:
    """An ISO time as day and minute.

    >>> date("2026-11-24T16:24:34+00:00")
    '2026-11-24 16:24'
    """
    return str(iso)[:16].replace("T", " ")


def run_line(row) -> str:
    """One run in the picker."""
    return row.name if row.state == "done" else f"{row.name} ({STATES.get(row.state, row.state)})"


def run_caption(row) -> str:
    """The line under the picker: state, what it predicts, when."""
    parts = [STATES.get(row.state, row.state), row.target and f"predicts {row.target}", date(row.created)]
    return f"{STATE_ICONS.get(row.state, '')} " + " · ".join(part for part in parts if part)


def filters(where: dict[str, list[str]]) -> str:
    """The filters that are on, in words.

    >>> filters({"race": ["White", "Black"], "age": ["20-29"]})
    'race White or Black, age 20-29'
    """
    return ", ".join(f"{name} {' or '.join(values)}" for name, values in where.items())
