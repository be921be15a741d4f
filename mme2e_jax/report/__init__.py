"""Writes the report of a run: page, figures, terminal tables."""
