"""Readers of raw releases and their splits."""
