"""The image's health check, run as Docker runs it: a process of its own, judged by its exit code."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@pytest.fixture
def serve():
    """A function: serve one status on ``/_stcore/health`` (404 elsewhere) on a free port, which it returns."""
    servers = []

    def start(status: int) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/_stcore/health" else 404)
                self.end_headers()

            def log_message(self, *args):
                """Keep the test's output quiet."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def check(root):
    """A function: the exit code and the words of the check against a port, with a proxy in the environment."""

    def run(port: int) -> tuple[int, str]:
        code = f"import sys, healthcheck; sys.exit(healthcheck.main({port}))"
        surroundings = {**os.environ, "http_proxy": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
        folder = root / "deploy/image"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=surroundings, capture_output=True, text=True, timeout=20
        )
        return done.returncode, done.stdout

    return run


def test_an_answering_dashboard_is_healthy(serve, check):
    """200 is health, and a proxy in the environment is not asked about 127.0.0.1."""
    code, words = check(serve(200))

    assert code == 0
    assert words.endswith("answers 200\n")


@pytest.mark.parametrize("status", [404, 503])
def test_another_answer_is_not_health(serve, check, status):
    """Some other program on the port, or a server that is going down."""
    code, words = check(serve(status))

    assert code == 1
    assert words.endswith(f"answers {status}\n")


def test_silence_is_not_health(check):
    """Nobody listens: one sentence and exit code 1, no traceback. Port 1 is nobody's on a development machine."""
    code, words = check(1)

    assert code == 1
    assert words.startswith("no answer on port 1:")


def test_the_port_is_the_one_the_image_exposes(root, dockerfile):
    """Script and Dockerfile name the port each; they must agree."""
    text = (root / "deploy/image/healthcheck.py").read_text()

    exposed = next(rest for name, rest in dockerfile if name == "EXPOSE")
    assert f"PORT = {exposed}\n" in text
