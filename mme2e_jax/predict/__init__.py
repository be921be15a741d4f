"""Predicts the emotions in video and sound files."""
