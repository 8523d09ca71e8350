"""``visrec app``: serve the dashboard."""

import os
import sys
from pathlib import Path

from visrec.errors import InputError


def register(commands) -> None:
    """Add ``app``."""
    app = commands.add_parser("app", help="serve the dashboard in the browser")
    app.add_argument("--port", type=int, default=8501, help="port to listen on (default 8501)")
    app.add_argument("--address", default=None, help="address to listen on (default: all)")
    app.set_defaults(call=serve)


def serve(args, settings) -> None:
    """Replace this process by Streamlit's server, so that signals reach it directly."""
    script = Path(__file__).resolve().parents[2] / "app.py"
    if not script.is_file():
        raise InputError(
            "app.py was not found beside the visrec package; "
            "run `visrec app` from a clone of the repository (pip install -e .)."
        )
    command = [sys.executable, "-m", "visrec.ui.server", "run", str(script), f"--server.port={args.port}"]
    if args.address:
        command.append(f"--server.address={args.address}")
    os.chdir(script.parent)
    os.execv(sys.executable, command)
