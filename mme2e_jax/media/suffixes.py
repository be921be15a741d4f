"""File name suffixes of sound files."""

SOUNDS = (".wav", ".flac", ".mp3", ".ogg")
