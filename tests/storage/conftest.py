"""A real S3 server over HTTP (moto's), and stores on it."""

import sys
import uuid
from pathlib import Path

import pytest

from visrec.config import S3Settings

sys.path.insert(0, str(Path(__file__).parent))  # bad_server lies beside the tests


@pytest.fixture(scope="session")
def s3_server():
    """The URL of a server on this machine that speaks S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_settings(s3_server) -> S3Settings:
    """Credentials for the server; it does not check them."""
    return S3Settings(access_key_id="AKIDEXAMPLE", secret_access_key="very-secret", endpoint_url=s3_server)


@pytest.fixture
def s3_bucket(s3_settings) -> str:
    """A new, empty bucket."""
    from visrec.storage.s3 import client

    name = f"visrec-{uuid.uuid4().hex[:12]}"
    client(s3_settings).create_bucket(Bucket=name)
    return name


@pytest.fixture
def scripted_server():
    """A server that answers by a test's ``answer(method, path) -> (status, headers, body)``; gives its URL."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    servers = []

    def start(answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = answer(self.command, self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                if len(body) < int(headers.get("Content-Length", 0)):
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_DELETE = reply

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
