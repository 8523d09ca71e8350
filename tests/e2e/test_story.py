"""The whole story in a browser, on drawn faces: from an empty folder to a model whose answers are explained.

The tests of this file build on each other, in the order in which a newcomer goes; each is one chapter.
"""

import io
import os
import re
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.bench_pages import phone_photo
from visrec.runs.record import open_runs
from visrec.ui import navigation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.xdist_group("browser")]

PASSES = 8
"""Of fine-tuning: half of what the demo bucket says, for these tests have ten minutes together with all others."""
PAGES = [name for pages in navigation.PAGES.values() for name, _, _ in pages if navigation.exists(name)]


def not_reached(reason: str):
    """End a chapter that has nothing to stand on: skipped by name on a laptop, a failure in CI."""
    pytest.fail(reason) if os.environ.get("CI", "").lower() == "true" else pytest.skip(reason)


@pytest.fixture
def run(places):
    """The run that an earlier chapter started."""
    found = open_runs(places).list()
    if not found:
        not_reached("the chapter that presses Train did not come so far")
    return found[0]


@pytest.fixture
def finished(run):
    """The same, trained to its end."""
    if run.status().state != "done":
        not_reached(f"the run is {run.status().state}: an earlier chapter failed")
    return run


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings almost no data: what is refused is refused by its header."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_1_a_bookmark_on_a_cold_server_opens_its_page(visit, server):
    """The first request of a fresh server is a deep link: no dialog, the right page, and nothing heavy loaded."""
    visitor = visit()
    visitor.open("train")

    assert "Train" == visitor.page.locator("h1").inner_text()
    assert 0 == visitor.page.get_by_text("Page not found").count()
    assert not server.loaded("tensorflow")
    assert server.seconds < 15, "the page is not up for a long time; 3 s is the aim on a quiet machine"


def test_2_one_button_makes_the_demo_buckets(visit):
    """Without any bucket the page says what one is, and offers to draw some."""
    visitor = visit()
    visitor.open("")
    assert "No bucket yet" in visitor.text()
    visitor.press("Make the demo buckets")
    visitor.page.get_by_text("Who is in it").wait_for(timeout=120_000)
    visitor.settle()

    assert "3,200" in visitor.text()
    visitor.check()


def test_3_train_is_pressed_and_followed_by_two_browsers_over_a_restart(visit, server, places):
    """A run is a process of its own: another browser follows it, and it outlives the server.

    With fewer passes than by default; what the default learns is a slow proof of ``tests/data/test_demo.py``.
    """
    visitor = visit()
    visitor.open("bucket?bucket=demo-faces")
    visitor.press("Train on this")
    visitor.page.wait_for_url("**/train*")
    visitor.settle()
    visitor.page.get_by_text("Expert settings").click()
    passes = visitor.page.get_by_label("Passes of fine-tuning")
    passes.fill(str(PASSES))
    passes.press("Enter")
    visitor.page.get_by_text(f"{PASSES} passes of fine-tuning").wait_for()
    visitor.press("Start training")
    visitor.page.get_by_role("button", name="Cancel", exact=True).wait_for()
    address = visitor.page.url
    assert "run=" in address

    other = visit(width=400, scheme="dark")
    other.page.goto(address)
    other.page.get_by_role("button", name="Cancel", exact=True).wait_for()

    server.stop()
    server.start()
    visitor.page.goto(address)
    visitor.page.get_by_text(re.compile("Fine-tune · ")).wait_for(timeout=180_000)
    visitor.keep("train-live")
    visitor.page.get_by_role("button", name="Whom does it fail?").wait_for(timeout=480_000)
    visitor.settle()

    visitor.check()
    visitor.keep("train-done")
    assert "done" == open_runs(places).list()[0].status().state


def test_4_the_training_learned(finished):
    """Not a demonstration of buttons: the model has learned to tell the expressions apart."""
    assert PASSES == finished.record["settings"]["fine_tune_epochs"]
    assert finished.record["metrics"]["val_accuracy"]["value"] >= 0.75


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_5_every_page_is_alive(visit, finished, name, width, scheme):
    """Wide and light, narrow and dark: drawn, without a fault, and nothing cut off."""
    visitor = visit(width=width, scheme=scheme)
    visitor.open(f"{name}?run={finished.id}")

    visitor.check()
    visitor.keep(name)


def test_6_a_slice_is_in_the_url_and_on_the_next_page(visit, finished):
    """Chosen in the sidebar, kept by the address, kept by the navigation."""
    visitor = visit()
    visitor.open(f"overview?run={finished.id}")
    visitor.choose("Race", "White")
    visitor.page.wait_for_url("**where_race=White**")
    visitor.settle()
    assert "race White" in visitor.text()

    visitor.page.get_by_test_id("stSidebarNav").get_by_text("Confusion matrices").click()
    visitor.page.wait_for_url("**/confusion*where_race=White*")
    visitor.settle()
    assert "race White" in visitor.text()
    visitor.check()

    again = visit()
    again.page.goto(visitor.page.url)
    again.settle()
    assert "race White" in again.text()


def test_7_an_uploaded_phone_photo_is_explained(visit, finished):
    """Twelve megapixels on their side: turned upright, answered; overlay, sliders that only redraw, the download."""
    visitor = visit()
    visitor.open(f"explain?run={finished.id}")
    visitor.page.locator("input[type=file]").set_input_files(
        {"name": "IMG_0001.jpg", "mimeType": "image/jpeg", "buffer": phone_photo()}
    )
    overlay = visitor.page.get_by_role("img", name=re.compile("Superpixels that speak for and against"))
    overlay.wait_for(timeout=120_000)
    visitor.settle()
    visitor.check()
    visitor.keep("explain-overlay")

    before = overlay.get_attribute("src")
    began = time.monotonic()
    visitor.page.get_by_role("slider", name="Opacity").press("ArrowRight")
    while overlay.get_attribute("src") == before and time.monotonic() - began < 30:
        visitor.page.wait_for_timeout(50)
    assert time.monotonic() - began < 5

    with visitor.page.expect_download() as download:
        visitor.press("Download PNG")
    with Image.open(download.value.path()) as image:
        assert image.size[1] > image.size[0] >= 256, "it lies on its side"


@pytest.mark.parametrize(
    ("name", "kind", "data", "says"),
    [
        ("notes.jpg", "image/jpeg", b"these are my notes\n" * 40, "is a text file"),
        ("huge.png", "image/png", bytes(30_000_000), "20"),
        ("holiday.jpg", "image/jpeg", b"%PDF-1.7\n1 0 obj\n", "is a PDF document, whatever its name says"),
        ("dot.png", "image/png", png(1, 1), "1 x 1 pixels, expected at least 16"),
        ("bomb.png", "image/png", png(14_200, 14_200), "50 megapixels at most"),
    ],
    ids=["text", "30 MB", "PDF", "1 pixel", "bomb"],
)
def test_8_a_bad_upload_is_a_sentence(visit, finished, name, kind, data, says):
    """A text, 30 MB, a PDF, one pixel, a bomb: what came, what was expected; the page stays usable."""
    visitor = visit()
    visitor.open(f"explain?run={finished.id}")
    visitor.page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": data})
    visitor.page.get_by_test_id("stMain").get_by_text(re.compile(re.escape(says))).last.wait_for()

    assert 0 == visitor.page.locator("[data-testid=stException]").count()
    good = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(good, "PNG")
    visitor.page.locator("input[type=file]").set_input_files(
        {"name": "grey.png", "mimeType": "image/png", "buffer": good.getvalue()}
    )
    visitor.page.get_by_text("The model answers").wait_for(timeout=60_000)


def test_9_unknown_run_and_empty_bucket_are_sentences(visit, finished, places):
    """Addresses age: the run was deleted, the bucket emptied."""
    (places.buckets[0] / "hollow").mkdir(exist_ok=True)
    visitor = visit()
    visitor.open("overview?run=20990101-nobody")
    assert "no run named '20990101-nobody'" in visitor.page.get_by_test_id("stSidebar").inner_text()

    visitor.open("bucket?bucket=hollow")
    assert "is empty" in visitor.text()
    assert 0 == visitor.page.locator("[data-testid=stException]").count()
