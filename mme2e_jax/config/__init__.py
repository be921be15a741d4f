"""The typed config, its checks and the command line."""
