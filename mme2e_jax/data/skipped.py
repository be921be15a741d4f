"""Utterances that are left out because their records are unusable."""

from collections.abc import Callable, Collection

from mme2e_jax.data.dataset import Split
from mme2e_jax.errors import UserError


class SkippedUtterances:
    """The utterances that a process has left out, and the limit on their number."""

    def __init__(self, limit: int, log: Callable[[str], object]):
        """Args: limit: maximum number of utterances; log: called with a line for each."""
        self._limit, self._log = limit, log
        self._reasons: dict[str, str] = {}
        self._examples: dict[str, frozenset[int]] = {}

    def add(self, split: Split, example: int, reason: str) -> None:
        """Leaves out an utterance, by its index; beyond the limit raises `UserError` with all and their problems."""
        if example in self.examples(split.name):
            return
        path, position = split.locate(example)
        self._examples[split.name] = self._examples.get(split.name, frozenset()) | {example}
        self._reasons[split.ids[example]] = f"{path}, record {position} ({split.name}): {reason}"
        if len(self._reasons) > self._limit:
            listed = "\n".join(f"  - utterance {name}: {reason}" for name, reason in self._reasons.items())
            raise UserError(
                f"Expected at most {self._limit} utterances with unusable records (config.data.skip_bad), found "
                f"{len(self._reasons)}:\n{listed}\n"
                f"Prepare {path.parent} again, or copy it again. Or leave such utterances out: run the same command "
                f"with --config.data.skip_bad={len(self._reasons)} or more."
            )
        left = f"{len(self._reasons)} of at most {self._limit}"
        self._log(f"Left out ({left}): utterance {split.ids[example]}, {self._reasons[split.ids[example]]}")

    def examples(self, split: str) -> Collection[int]:
        """The utterances left out of a split, by index."""
        return self._examples.get(split, frozenset())

    def report(self) -> dict[str, str]:
        """File and problem by utterance id, in the order in which they were left out."""
        return dict(self._reasons)
