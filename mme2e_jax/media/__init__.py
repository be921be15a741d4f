"""Turns media files into the arrays of one utterance: faces, sound, mel chunks, tokens."""
