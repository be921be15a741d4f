"""From clips to predictions, and the files that hold them."""
