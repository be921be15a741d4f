"""A trace of some steps for TensorBoard or XProf."""

from pathlib import Path

import jax

from mme2e_jax.runtime.console import console


def steps_to_profile(profile: str) -> range:
    """The steps START to STOP - 1 of "START:STOP"; none of "".

    Args:
      profile: validated, see `config.COMMON_RULES`.
    """
    start, _, stop = profile.partition(":")
    return range(int(start), int(stop)) if profile else range(0)


class Profile:
    """Records what host and devices do during some steps."""

    def __init__(self, steps: range, directory: Path):
        """Args: steps: from 0; directory: where the trace goes."""
        self._steps, self._directory, self._running = steps, directory, False

    def boundary(self, step: int) -> bool:
        """Whether the trace starts or ends before this step, so that what was begun must be finished first."""
        return (step in self._steps) != self._running

    def before(self, step: int) -> None:
        """Starts or ends the trace where that is due before a step."""
        if step in self._steps and not self._running:
            jax.profiler.start_trace(str(self._directory))
            self._running = True
        elif step not in self._steps:
            self.close()

    def close(self) -> None:
        """Writes what was recorded."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            console.print(f"Wrote a trace to {self._directory}: tensorboard --logdir={self._directory}")
