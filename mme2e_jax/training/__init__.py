"""The training loop, its step, losses, optimizer, hooks and loggers."""
