"""Schedules the dense phase, the attention threshold and the teacher."""

import dataclasses

from mme2e_jax.config.schema import Config, SparseOptimConfig


@dataclasses.dataclass(frozen=True)
class SiteSchedule:
    """The run's steps: first the dense phase, then annealing, then the final threshold."""

    total_steps: int
    dense_steps: int  # steps at threshold 1, before the teacher
    final: float  # final attention threshold
    anneal: float  # share of the other steps over which the threshold falls to it
    has_teacher: bool

    @classmethod
    def of(cls, config: Config, steps_per_epoch: int) -> "SiteSchedule":
        """The schedule of a config."""
        o = config.optim
        taught = isinstance(o, SparseOptimConfig) and (o.teacher_saliency > 0 or o.teacher_kd > 0)
        return cls(o.epochs * steps_per_epoch, config.dense_epochs * steps_per_epoch, *config.site_selection, taught)

    def threshold(self, step: int) -> float:
        """Attention threshold at a step: 1 in the dense phase, then linearly down to the final one."""
        end = self.anneal * (self.total_steps - self.dense_steps)
        if step < self.dense_steps:
            return 1.0
        since = step - self.dense_steps
        return self.final if since >= end else 1.0 + (self.final - 1.0) * since / end

    def taught(self, step: int) -> bool:
        """Whether a teacher takes part in a step."""
        return self.has_teacher and step >= self.dense_steps
