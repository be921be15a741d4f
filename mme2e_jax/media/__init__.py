"""From media files to the arrays of one utterance: frames, faces, sound, mel, tokens."""
