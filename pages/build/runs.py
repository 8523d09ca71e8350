"""Runs: every training and every imported table, newest first."""

from visrec.ui import frame

frame.open_page("Runs", "Which run did what, and how do two compare?")
