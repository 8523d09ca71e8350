"""From a slicer to the repaint in Chromium: the Metrics and the Confusion page on a table of a million rows.

Command: ``python benchmarks/bench_pages.py [--rows 1000000] [--times 30]``. It makes a run of drawn predictions with
7 x 9 cells in a temporary place, serves the dashboard, changes the minimum count (every figure depends on it), and
measures from the key press to the last change of the page's chart. Prints median and 95th percentile in milliseconds.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
CHARTS = {"fairness": ".st-key-fairness_rates", "confusion": ".st-key-confusion_grid"}
GOALS = {"fairness": 300, "confusion": 500}
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WATCH = """(selector) => {
  window.changed = 0;
  new MutationObserver((changes) => {
    for (const change of changes) {
      const place = change.target.nodeType === 1 ? change.target : change.target.parentElement;
      if (place && place.closest(selector)) {
        requestAnimationFrame(() => { window.changed = performance.now(); });
        break;
      }
    }
  }).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter") window.pressed = performance.now();
  }, true);
}"""


def drawn_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Predictions of a model that is right in 9 of 10, over 7 x 9 cells of unequal size."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["no", "yes"], rows)
    hit = rng.random(rows) < 0.9
    return pd.DataFrame(
        {
            "file": [f"val/{i}.jpg" for i in range(rows)],
            "label": label,
            "prediction": np.where(hit, label, np.where(label == "no", "yes", "no")),
            "group": rng.choice(list("ABCDEFG"), rows, p=np.arange(1, 8) / 28),
            "age": rng.choice([f"{10 * i}-{10 * i + 9}" for i in range(9)], rows, p=np.arange(1, 10) / 45),
        }
    )


def repaint(page, times: int, smallest: int) -> list[float]:
    """Milliseconds from the key press to the chart's last change, ``times`` times.

    Each minimum count, a multiple of the smallest cell's rows, makes other cells unknown: the chart must change.
    """
    found = []
    box = page.locator("input[type=number]").first
    for i in range(times):
        box.fill(str(smallest * (2 + 5 * (i % 7)) + i))
        page.evaluate("() => { window.changed = 0; }")
        box.press("Enter")
        page.wait_for_function("() => window.changed > 0 && performance.now() - window.changed > 500")
        found.append(page.evaluate("() => window.changed - window.pressed"))
    return sorted(found)


def serve(place: Path) -> tuple[subprocess.Popen, str]:
    """The dashboard on a free port, in its own places."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {f"VISREC_{name.upper()}": str(place / name) for name in ("buckets", "runs", "cache")}
    command = [sys.executable, "-m", "visrec.ui.server", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | names, stdout=subprocess.DEVNULL)
    deadline = time.time() + 60
    while time.time() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    return server, f"http://127.0.0.1:{port}"


def main() -> None:
    """Make the run, serve, measure, print."""
    from playwright.sync_api import sync_playwright

    from visrec.config import Settings
    from visrec.runs.import_table import Columns, import_table

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--times", type=int, default=30)
    options.add_argument("--chromium", default="/usr/bin/chromium")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        for name in ("buckets", "runs", "cache"):
            (place / name).mkdir()
        settings = Settings(buckets=(place / "buckets",), runs=str(place / "runs"), cache=place / "cache")
        run = import_table(
            drawn_table(args.rows), settings, Columns("label", attributes=("group", "age")), name="drawn"
        )
        server, address = serve(place)
        try:
            browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
            print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            for name, chart in CHARTS.items():
                page = browser.new_page(viewport={"width": 1280, "height": 1000})
                page.set_default_timeout(120_000)
                page.goto(f"{address}/{name}?run={run.id}")
                page.wait_for_selector(f"{chart} .js-plotly-plot")
                page.wait_for_timeout(3000)
                page.evaluate(WATCH, chart)
                found = repaint(page, args.times, args.rows // (28 * 45))
                last = found[min(len(found) - 1, int(0.95 * len(found)))]
                print(
                    f"{name}: {args.rows:,} rows, 63 cells: median {statistics.median(found):.0f} ms, "
                    f"95th percentile {last:.0f} ms (goal {GOALS[name]} ms)"
                )
                page.close()
            browser.close()
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
