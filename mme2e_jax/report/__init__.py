"""The report of a run: a page with its figures, beside `metrics.json`, which holds the numbers."""
