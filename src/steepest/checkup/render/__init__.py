"""Rendering: one report as text for a terminal, as a page, and as JSON for machines.

`words` and `vitals` decide what is shown, once; `text`, `html` and `json` only lay it
out, and `charts` draws. Nothing here judges or measures.
"""
