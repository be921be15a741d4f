"""Turns media files into arrays: faces, sound, mel chunks and tokens."""
