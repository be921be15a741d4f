"""Traces some training steps for TensorBoard or XProf."""

from pathlib import Path

import jax

from mme2e_jax.runtime.console import console


def steps_to_profile(profile: str) -> range:
    """The steps START to STOP - 1 of a valid `config.profile` "START:STOP"; none for ""."""
    start, _, stop = profile.partition(":")
    return range(int(start), int(stop)) if profile else range(0)


class Profile:
    """Records the activity of host and devices during some steps."""

    def __init__(self, steps: range, directory: Path):
        """Args: steps: steps to trace, from 0; directory: output directory of the trace."""
        self._steps, self._directory, self._running = steps, directory, False

    def boundary(self, step: int) -> bool:
        """Whether the trace starts or ends before this step; earlier steps must finish first."""
        return (step in self._steps) != self._running

    def before(self, step: int) -> None:
        """Starts or ends the trace before a step if that is due."""
        if step in self._steps and not self._running:
            options = jax.profiler.ProfileOptions()
            # Calls of Python's functions would fill the trace, and other threads may compile meanwhile.
            options.python_tracer_level = 0
            jax.profiler.start_trace(str(self._directory), profiler_options=options)
            self._running = True
        elif step not in self._steps:
            self.close()

    def close(self) -> None:
        """Writes the trace if it is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            console.print(f"Wrote a trace to {self._directory}: tensorboard --logdir={self._directory}")
