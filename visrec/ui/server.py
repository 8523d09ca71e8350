"""The dashboard's server: Streamlit's own, told beforehand that our pages come from ``st.navigation``.

A fresh Streamlit 1.67 server that finds a folder named ``pages`` beside ``app.py`` believes in the older scheme, in
which each file of that folder is a page, until ``app.py`` has run once; the first visitor who comes by a bookmark
then reads "Page not found" (docs/adr/0030). And what visitors send stays in memory: the multipart reader under
Streamlit would put a file of more than 1 MB into a temporary one. Use it as
``python -m visrec.ui.server run app.py ...``.
"""

LARGEST_UPLOAD = 256 * 1024 * 1024
"""Bytes kept in memory while a file arrives; above ``server.maxUploadSize`` of `.streamlit/config.toml`."""


def main() -> None:
    """Hand the command line on to ``streamlit``."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web.cli import main as streamlit

    PagesManager.uses_pages_directory = False
    keep_uploads_in_memory()
    streamlit(prog_name="streamlit")


def keep_uploads_in_memory() -> None:
    """Let a file that arrives be held in memory, whatever its size, and never on disk."""
    from starlette.formparsers import MultiPartParser

    MultiPartParser.spool_max_size = LARGEST_UPLOAD


if __name__ == "__main__":
    main()
