"""Explain: why the model answers what it answers for one image."""

from visrec.ui import frame

frame.open_page("Explain", "Why this answer?", needs="predictions")
