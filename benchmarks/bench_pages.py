"""From a slicer to the repaint in Chromium: the Metrics and the Confusion page on a table of a million rows.

Command: ``python benchmarks/bench_pages.py [--rows 1000000] [--times 30]``. It makes a run of drawn predictions with
7 x 9 cells in a temporary place, serves the dashboard, changes the minimum count (every figure depends on it), and
measures from the key press to the last change of the page's chart. Prints median and 95th percentile in milliseconds.

With ``--explain RUN`` it serves the places of the environment instead, uploads a drawn phone photo of 12 megapixels,
turned by its EXIF tag, to the Explain page of that run, and measures from each slider's key to the new overlay.
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
OVERLAY = "img[alt^='Superpixels that speak']"
SLIDERS = {"Superpixels": ("ArrowLeft", "ArrowRight"), "Opacity": ("ArrowRight", "ArrowLeft")}
WATCH_OVERLAY = """(selector) => {
  window.painted = 0;
  const look = () => {
    const image = document.querySelector(selector);
    if (!image || image.src === window.seen) return;
    window.seen = image.src;
    image.decode().then(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
  };
  window.seen = document.querySelector(selector).src;
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
  document.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
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


def phone_photo() -> bytes:
    """A drawn face as a phone keeps it: 4,000 x 3,000 pixels, lying on its side, with the EXIF tag that says so."""
    import io

    from PIL import Image

    from visrec.data.drawing import avatar

    upright = Image.new("RGB", (3000, 4000), (150, 165, 180))
    upright.paste(avatar(np.random.default_rng(0), smiling=True, size=3000), (0, 500))
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # the first row of pixels is the right side of the scene
    upright.transpose(Image.Transpose.ROTATE_90).save(data, "JPEG", quality=92, exif=exif)
    return data.getvalue()


def sliders(page, times: int) -> dict[str, list[float]]:
    """Milliseconds from a slider's key to the overlay that follows from it, sorted, by slider."""
    found = {}
    for name, keys in SLIDERS.items():
        slider, taken = page.get_by_role("slider", name=name), []
        for i in range(times):
            page.evaluate("() => { window.painted = 0; }")
            slider.press(keys[i // 4 % 2])
            page.wait_for_function("() => window.painted > 0 && performance.now() - window.painted > 400")
            taken.append(page.evaluate("() => window.painted - window.pressed"))
        found[name] = sorted(taken)
    return found


def bench_explain(browser, address: str, run: str, times: int) -> None:
    """Upload the photo, wait for its overlay, then move the sliders; LIME may not be asked again."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/explain?run={run}")
    photo, began = phone_photo(), time.monotonic()
    page.locator("input[type=file]").set_input_files({"name": "IMG.jpg", "mimeType": "image/jpeg", "buffer": photo})
    page.wait_for_selector(OVERLAY)
    print(f"explain: {len(photo) / 1e6:.1f} MB of 12 megapixels, overlay after {time.monotonic() - began:.1f} s")
    page.wait_for_timeout(5000)
    page.evaluate(WATCH_OVERLAY, OVERLAY)
    for name, taken in sliders(page, times).items():
        print(
            f"explain, slider {name}: median {statistics.median(taken):.0f} ms, 95th percentile "
            f"{taken[min(len(taken) - 1, int(0.95 * len(taken)))]:.0f} ms (goal 300 ms)"
        )
    page.close()


def bench_charts(browser, address: str, run: str, rows: int, times: int) -> None:
    """The Metrics and the Confusion page after a changed minimum count."""
    for name, chart in CHARTS.items():
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(f"{address}/{name}?run={run}")
        page.wait_for_selector(f"{chart} :is(.js-plotly-plot, .vr-row)")
        page.wait_for_timeout(3000)
        page.evaluate(WATCH, chart)
        found = repaint(page, times, rows // (28 * 45))
        last = found[min(len(found) - 1, int(0.95 * len(found)))]
        print(
            f"{name}: {rows:,} rows, 63 cells: median {statistics.median(found):.0f} ms, "
            f"95th percentile {last:.0f} ms (goal {GOALS[name]} ms)"
        )
        page.close()


def drawn_run(place: Path, rows: int):
    """The places of a dashboard with one run of drawn predictions; its id and what to set in the environment."""
    from visrec.config import Settings
    from visrec.runs.import_table import Columns, import_table

    for name in ("buckets", "runs", "cache"):
        (place / name).mkdir()
    settings = Settings(buckets=(place / "buckets",), runs=str(place / "runs"), cache=place / "cache")
    run = import_table(drawn_table(rows), settings, Columns("label", attributes=("group", "age")), name="drawn")
    return run.id, {f"VISREC_{name.upper()}": str(place / name) for name in ("buckets", "runs", "cache")}


def serve(names: dict[str, str]) -> tuple[subprocess.Popen, str]:
    """The dashboard on a free port, in its own places."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    """Make the run or take that of the environment, serve, measure, print."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--times", type=int, default=30)
    options.add_argument("--explain", metavar="RUN", help="measure the Explain page of a run of VISREC_RUNS instead")
    options.add_argument("--chromium", default="/usr/bin/chromium")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run, names = (args.explain, {}) if args.explain else drawn_run(Path(folder), args.rows)
        server, address = serve(names)
        try:
            browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
            print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            if args.explain:
                bench_explain(browser, address, run, args.times)
            else:
                bench_charts(browser, address, run, args.rows, args.times)
            browser.close()
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
