"""Opens finished runs."""
