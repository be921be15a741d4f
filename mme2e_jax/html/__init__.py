"""Builds the HTML pages: templates, and images within a page."""
