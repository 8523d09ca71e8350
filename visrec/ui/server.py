"""The dashboard's server: Streamlit's own, told beforehand that our pages come from ``st.navigation``.

A fresh Streamlit 1.67 server that finds a folder named ``pages`` beside ``app.py`` believes in the older scheme, in
which each file of that folder is a page, until ``app.py`` has run once; the first visitor who comes by a bookmark
then reads "Page not found" (docs/adr/0030). Use it as ``python -m visrec.ui.server run app.py ...``.
"""


def main() -> None:
    """Hand the command line on to ``streamlit``."""
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.web.cli import main as streamlit

    PagesManager.uses_pages_directory = False
    streamlit(prog_name="streamlit")


if __name__ == "__main__":
    main()
