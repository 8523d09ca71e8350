"""The server under the pages: what it does with uploads before any page sees them, and what stays after a page."""

import sys

from visrec.ui import frame


def test_large_file_arrives_in_memory_and_not_in_a_temporary_file():
    """The multipart reader under Streamlit puts more than 1 MB on disk, unless told otherwise by our server."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from starlette.datastructures import Headers
    from starlette.formparsers import MultiPartParser

    from visrec.ui.server import LARGEST_UPLOAD, keep_uploads_in_memory

    async def arriving():
        yield b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
        for _ in range(48):
            yield bytes(65_536)
        yield b"\r\n--x--\r\n"

    old = MultiPartParser.spool_max_size
    try:
        keep_uploads_in_memory()
        headers = Headers({"content-type": "multipart/form-data; boundary=x"})
        # In a thread of its own: the browser tests of the same worker leave a running loop in the main one.
        with ThreadPoolExecutor(1) as thread:
            form = thread.submit(lambda: asyncio.run(MultiPartParser(headers, arriving()).parse())).result()
        assert LARGEST_UPLOAD >= 200 * 1024 * 1024
        assert form["f"].size == 48 * 65_536
        assert not form["f"].file._rolled
    finally:
        MultiPartParser.spool_max_size = old


def test_what_is_loaded_is_looked_through_once(monkeypatch):
    """Streamlit collects garbage after each run of a page; libraries that stay loaded need no second look."""
    frozen = []
    monkeypatch.setattr(frame, "_loaded", 0)
    monkeypatch.setattr(frame.gc, "freeze", lambda: frozen.append(len(sys.modules)))
    for _ in range(3):
        frame.settle()
    assert 1 == len(frozen)

    monkeypatch.setattr(frame, "_loaded", len(sys.modules) - frame.MANY_MODULES)
    frame.settle()
    assert 2 == len(frozen)
