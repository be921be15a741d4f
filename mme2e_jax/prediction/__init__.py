"""Prediction on anybody's clip: cues and windows, reading, the model with what it looked at, and pages of it."""
