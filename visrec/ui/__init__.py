"""The dashboard's own parts: frame, navigation, cached reads, widgets and words; the only part that knows Streamlit.

A page is a script of one screen: ``view = frame.open_page(title, question, needs=...)``, then read, compute, draw.
"""
