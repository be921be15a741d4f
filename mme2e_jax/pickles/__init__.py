"""Reads third parties' pickles and .pt files without running anything in them."""
