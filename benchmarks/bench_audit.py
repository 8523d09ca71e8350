"""How fast the audit is, side by side with fairlearn and AIF360, on one machine in one run.

    .venv/bin/python benchmarks/bench_audit.py [--only a,b,c,d,e] [--rows 50000000] [-o FILE]

(a) everything about 1,000,000 rows x 126 cells; (b) one bootstrap replicate against fairlearn's; (c) AIF360's metrics
on weighted cells against AIF360 on the rows; (d) one change of a slicer; (e) 50 million rows of Parquet, streamed.
Every table is drawn here, seeded; medians of several repetitions.
"""

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

RACES = ("Black", "East Asian", "Indian", "Latino_Hispanic", "Middle Eastern", "Southeast Asian", "White")
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
GENDERS = ("Female", "Male")


def drawn_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows with three attributes (7 x 9 x 2 = 126 cells), two classes and a score."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    score = np.clip(rng.normal(0.32 + 0.36 * label, 0.22), 0, 1)
    pick = lambda values: pd.Categorical.from_codes(rng.integers(0, len(values), rows).astype(np.int8), values)
    return pd.DataFrame(
        {
            "file": [f"val/{i}.jpg" for i in range(rows)],
            "race": pick(RACES),
            "age": pick(AGES),
            "gender": pick(GENDERS),
            "label": pd.Categorical.from_codes(label.astype(np.int8), ("no", "yes")),
            "prediction": pd.Categorical.from_codes((score >= 0.5).astype(np.int8), ("no", "yes")),
            "score": score,
        }
    )


def timed(function, times: int = 5) -> tuple[dict, object]:
    """Median wall and processor seconds of several calls, and the last result."""
    clocks = []
    for _ in range(times):
        start = clock()
        result = function()
        clocks.append(since(start))
    return middle(clocks), result


def clock() -> tuple[float, float]:
    """Wall and processor time; on a busy machine the two part."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> dict:
    """Seconds passed on both clocks."""
    return {"seconds": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}


def middle(clocks: list[dict]) -> dict:
    """Median of each clock."""
    return {key: statistics.median(c[key] for c in clocks) for key in ("seconds", "cpu")}


def times_faster(slow: dict, fast: dict) -> dict:
    """How many times, by the wall and by processor time."""
    return {"ratio": slow["seconds"] / fast["seconds"], "cpu": slow["cpu"] / fast["cpu"]}


def bench_a(frame: pd.DataFrame) -> list[dict]:
    """Everything of items 1 to 5 on a million rows, after imports."""
    from visrec.audit import aif360_metrics
    from visrec.audit.engine import audit
    from visrec.audit.predictions import load_predictions

    aif360_metrics.library()
    parts = ("cells", "marginals", "overall", "gaps", "marginal_gaps", "pairs", "differences", "auc", "calibration",
             "aif360", "aif360_groups", "spread", "ranking", "subset")  # fmt: skip
    steps: dict[str, list[dict]] = {}
    for _ in range(3):
        start = last = clock()
        predictions = load_predictions(frame, scores="score", score_class="yes")
        steps.setdefault("count the rows (names compared, attributes encoded, scores summed)", []).append(since(last))
        result = audit(predictions, by="race,age,gender", outcome="yes", privileged="race=White")
        for part in parts:
            last = clock()
            getattr(result, part)
            steps.setdefault(part, []).append(since(last))
        steps.setdefault("total", []).append(since(start))
    rows = [{"what": f"(a) {name}", **middle(clocks)} for name, clocks in steps.items()]
    rows[-1]["target"] = "<= 3 s"
    return rows


def bench_b() -> list[dict]:
    """Seconds per bootstrap replicate of rates by race x age on 10,954 rows."""
    import fairlearn.metrics as fl

    from visrec.audit.cells import binary_counts
    from visrec.audit.differences import bootstrap
    from visrec.audit.predictions import load_predictions
    from visrec.audit.rates import PARTS, ratio

    frame = drawn_table(10_954, 1)
    truth, answer = (frame[c].cat.codes.to_numpy() for c in ("label", "prediction"))
    metrics = {"accuracy": fl.MetricFrame and _accuracy, "tpr": fl.true_positive_rate, "fpr": fl.false_positive_rate,
               "selection_rate": fl.selection_rate}  # fmt: skip
    groups = frame[["race", "age"]].astype(str)

    def theirs():
        return fl.MetricFrame(
            metrics=metrics, y_true=truth, y_pred=answer, sensitive_features=groups, n_boot=100,
            ci_quantiles=[0.025, 0.975], random_state=0,
        )  # fmt: skip

    table = load_predictions(frame).cube.table(["race", "age"])

    def ours():
        drawn = bootstrap(binary_counts(table, "yes"), 2_000, np.random.default_rng(0))
        rates = {}
        for name in metrics:
            top, base = PARTS[name]
            rates[name] = ratio(drawn[..., list(top)].sum(-1), drawn[..., list(base)].sum(-1))
        return {name: np.nanquantile(r, [0.025, 0.975], axis=0) for name, r in rates.items()}

    slow, _ = timed(theirs, 1)
    fast, _ = timed(ours)
    per_slow, per_fast = ({k: v / n for k, v in found.items()} for found, n in ((slow, 100), (fast, 2_000)))
    return [
        {"what": "(b) fairlearn MetricFrame, per replicate", **per_slow},
        {"what": "(b) visrec, per replicate (quantiles included)", **per_fast},
        {"what": "(b) times faster", **times_faster(per_slow, per_fast), "target": ">= 1,000"},
    ]


def _accuracy(y_true, y_pred):
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))


def bench_c(frame: pd.DataFrame) -> list[dict]:
    """All of AIF360's metrics for White against the rest: on a million rows, and on weighted cells."""
    from visrec.audit import aif360_metrics, aif360_table
    from visrec.audit.engine import audit
    from visrec.audit.predictions import load_predictions

    library = aif360_metrics.library()
    predictions = load_predictions(frame, scores="score", score_class="yes")

    def ours():
        result = audit(predictions, by="race,age,gender", outcome="yes", privileged="race=White")
        return aif360_table.seen(result.split(result.privileged_cells))

    fast, values = timed(ours)
    start = clock()
    names = ["race", "age", "gender"]
    codes = pd.DataFrame({n: frame[n].cat.codes.astype(float) for n in names})
    truth = library.BinaryLabelDataset(
        df=codes.assign(label=frame["label"].cat.codes.astype(float)),
        label_names=["label"],
        protected_attribute_names=names,
    )
    answer = truth.copy(deepcopy=True)
    answer.labels = frame["prediction"].cat.codes.to_numpy(float)[:, None]
    answer.scores = frame["score"].to_numpy()[:, None]
    white = float(RACES.index("White"))
    groups = {
        "privileged_groups": [{"race": white}],
        "unprivileged_groups": [{"race": float(i)} for i in range(len(RACES)) if i != white],
    }
    metric = library.ClassificationMetric(truth, answer, **groups)
    off, compared = 0.0, 0
    for name, found in values.items():
        if name.startswith(("labels_", "between_all", "smoothed")):
            continue
        theirs = float(getattr(metric, name)())
        if np.isfinite(theirs):
            off, compared = max(off, abs(theirs - found["value"]) / max(1.0, abs(theirs))), compared + 1
    slow = since(start)
    aif360_metrics.forget()
    return [
        {"what": f"(c) AIF360 on 1,000,000 rows, {compared} metrics", **slow},
        {"what": f"(c) AIF360 on weighted cells, {len(values)} metrics", **fast},
        {"what": "(c) times faster", **times_faster(slow, fast), "target": ">= 100"},
        {"what": "(c) largest difference of the values", "ratio": off, "target": "<= 1e-9"},
    ]


def bench_d(frame: pd.DataFrame) -> list[dict]:
    """One change of a slicer on the fairness page and on the confusion page, p95 of 30, nothing cached."""
    from visrec.audit.engine import audit
    from visrec.audit.predictions import load_predictions

    predictions = load_predictions(frame, scores="score", score_class="yes")
    gc.collect()
    gc.freeze()  # as the dashboard does after it has loaded its libraries (visrec.ui.frame.settle)
    rows = []
    pages = (
        ("race,age", ("cells", "gaps")),
        ("race", ("cells", "gaps", "pairs", "differences")),
        ("race,age", ("confusion",)),
    )
    for by, parts in pages:
        clocks = []
        for i in range(30):
            start = clock()
            result = audit(predictions, by=by, outcome="yes", where={"gender": [GENDERS[i % 2]]}, min_count=20 + i)
            for part in parts:
                found = getattr(result, part)
                _ = found() if callable(found) else found
            clocks.append(since(start))
        p95 = {key: sorted(c[key] for c in clocks)[28] for key in ("seconds", "cpu")}
        rows.append({"what": f"(d) {' + '.join(parts)} by {by} after a change, p95", **p95, "target": "<= 0.1 s"})
    return rows


def bench_e(rows: int) -> list[dict]:
    """A Parquet file of many rows, counted in a process of its own: rows per second and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.parquet"
        write_parquet(path, rows)
        code = (
            "import sys, time, resource; from visrec.audit.predictions import load_predictions;"
            "from visrec.audit.engine import audit; start = time.perf_counter();"
            f"p = load_predictions({str(path)!r}, scores='score', score_class='yes',"
            "attributes=['race', 'age', 'gender']);"
            "r = audit(p, by='race,age', outcome='yes'); r.cells; r.gaps; r.auc;"
            "use = resource.getrusage(resource.RUSAGE_SELF);"
            "print(time.perf_counter() - start, time.process_time(), use.ru_maxrss, p.cube.rows)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, cpu, peak, counted = map(float, done.stdout.split())
        size = path.stat().st_size
    assert counted == rows
    return [
        {
            "what": f"(e) {rows:,} rows of Parquet ({size / 1e9:.2f} GB), read, counted, audited",
            "seconds": seconds,
            "cpu": cpu,
        },
        {"what": "(e) rows per second", "ratio": rows / seconds},
        {"what": "(e) peak memory, GB", "ratio": peak * 1024 / 1e9, "target": "<= 2 GB"},
    ]


def write_parquet(path: Path, rows: int) -> None:
    """A table written in pieces of two million rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for start in range(0, rows, 2_000_000):
        many = min(2_000_000, rows - start)
        frame = drawn_table(many, start).assign(file=[f"val/{start + i}.jpg" for i in range(many)])
        table = pa.Table.from_pandas(frame.astype(dict.fromkeys(("race", "age", "gender", "label", "prediction"), str)))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def main() -> None:
    """Run what was asked for and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="a,b,c,d,e")
    parser.add_argument("--rows", type=int, default=50_000_000, help="of part e")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    only = set(args.only.split(","))
    frame = drawn_table(1_000_000) if only & set("acd") else None
    results = []
    results += bench_a(frame) if "a" in only else []
    results += bench_b() if "b" in only else []
    results += bench_c(frame) if "c" in only else []
    results += bench_d(frame) if "d" in only else []
    results += bench_e(args.rows) if "e" in only else []
    lines = ["| what | wall | processor | target |", "|---|---:|---:|---|"]
    for r in results:
        unit = " s" if "seconds" in r else ""
        figure, cpu = f"{r.get('seconds', r.get('ratio')):.4g}{unit}", f"{r['cpu']:.4g}{unit}" if "cpu" in r else ""
        lines.append(f"| {r['what']} | {figure} | {cpu} | {r.get('target', '')} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    machine = f"{platform.machine()}, {os.cpu_count()} CPU cores, Python {platform.python_version()}"
    lines.append(f"\n{machine}, load {os.getloadavg()[0]:.1f}; peak memory of this process {peak:.2f} GB.")
    text = "\n".join(lines)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
