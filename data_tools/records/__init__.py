"""Record kinds, schemas, writing, inspection, and the preparation report."""
