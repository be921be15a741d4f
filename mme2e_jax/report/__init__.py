"""The report of a run: a page with figures, next to `metrics.json`."""
