"""Weights from elsewhere: the paper, ALBERT, and other runs."""
