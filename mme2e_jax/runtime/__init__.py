"""Console, processes, JAX cache, signals, locks, files, pytrees and sharding."""
