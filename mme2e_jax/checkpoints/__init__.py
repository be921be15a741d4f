"""Reads and writes checkpoints."""
