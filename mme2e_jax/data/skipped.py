"""Which utterances are left out because their records are of no use, and how many that may be."""

from collections.abc import Callable, Collection
from pathlib import Path

from mme2e_jax.data.dataset import Split
from mme2e_jax.errors import UserError


class Skipped:
    """Counts and names the utterances that a process leaves out in a run."""

    def __init__(self, most: int, tell: Callable[[str], object]):
        """Args: most: utterances that may be left out; tell: shows a line to the user."""
        self._most, self._tell = most, tell
        self._reasons: dict[str, str] = {}
        self._examples: dict[str, frozenset[int]] = {}

    def add(self, split: Split, example: int, reason: str) -> None:
        """Leaves out an utterance from now on; one that is left out already stays so.

        Args:
          split: that holds it.
          example: its index there.
          reason: what is wrong with its record.

        Raises:
          UserError: if that is one more than may be left out; naming all of them, their files and what is wrong.
        """
        if example in self.examples(split.name):
            return
        path, position = split.place(example)
        self._examples[split.name] = self._examples.get(split.name, frozenset()) | {example}
        self._reasons[split.ids[example]] = f"{path}, record {position} ({split.name}): {reason}"
        if len(self._reasons) > self._most:
            raise UserError(self._refusal(path.parent))
        left = f"{len(self._reasons)} of at most {self._most}"
        self._tell(f"Left out ({left}): utterance {split.ids[example]}, {self._reasons[split.ids[example]]}")

    def examples(self, split: str) -> Collection[int]:
        """Those of a split, by index."""
        return self._examples.get(split, frozenset())

    def report(self) -> dict[str, str]:
        """By utterance where its record is and what is wrong with it, in the order in which they were met."""
        return dict(self._reasons)

    def _refusal(self, directory: Path) -> str:
        listed = "\n".join(f"  - utterance {name}: {reason}" for name, reason in self._reasons.items())
        return (
            f"Expected at most {self._most} utterances with records of no use (config.data.skip_bad), found "
            f"{len(self._reasons)}:\n{listed}\n"
            f"Prepare {directory} again, or copy it once more. Or leave such utterances out: run the same command with "
            f"--config.data.skip_bad={len(self._reasons)} or more."
        )
