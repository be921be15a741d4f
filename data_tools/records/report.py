"""The preparation report: every utterance that was left out or degraded."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Column, Table

from mme2e_jax.media.findings import DEGRADED, DROPPED, EXCLUDED, REASONS
from mme2e_jax.media.utterance import Finding
from mme2e_jax.runtime.console import PlainConsole

_COUNTED_BY_DETAIL = ("other_emotion",)


@dataclass
class Report:
    """The outcome of preparation; `to_json`, stored with the records, depends on neither machine nor time."""

    settings: dict[str, Any] = field(default_factory=dict)  # settings of the preparation
    # Utterances and lines of files that were left out, degraded or noted.
    findings: list[Finding] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # identifiers of the written utterances
    # By split, numbers of utterances, videos, and positives by label.
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # sentences about the whole dataset
    # Time by kind of work: `decode`, `faces`, `features` summed over all processes; wall-clock time of `extracting`
    # (all of these and start-up) and `writing`. Not stored.
    seconds: dict[str, float] = field(default_factory=dict)

    def by_reason(self) -> dict[str, list[Finding]]:
        """Findings by reason, in the order of `REASONS`, each sorted by identifier; raises KeyError for others."""
        groups: Mapping[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            if finding.reason not in REASONS:
                raise KeyError(f"unknown reason {finding.reason!r}; expected one of {', '.join(REASONS)}")
            groups[finding.reason].append(finding)
        return {
            reason: sorted(groups[reason], key=lambda f: (f.id, f.detail)) for reason in REASONS if reason in groups
        }

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, in fixed order."""
        groups = self.by_reason()
        kept = set(self.kept)
        dropped = _identifiers(groups, DROPPED) - kept
        excluded = _identifiers(groups, EXCLUDED) - kept - dropped
        degraded = _identifiers(groups, DEGRADED) & kept
        return {
            "settings": self.settings,
            "utterances": {
                "kept": len(kept),
                "kept_degraded": len(degraded),
                "dropped": len(dropped),
                "excluded": len(excluded),
            },
            "reasons": {
                reason: {
                    "effect": REASONS[reason][0],
                    "meaning": REASONS[reason][1],
                    "count": len(findings),
                    **_by_detail(reason, findings),
                    "utterances": [{"id": f.id, "detail": f.detail} for f in findings],
                }
                for reason, findings in groups.items()
            },
            "splits": self.splits,
            "warnings": self.warnings,
        }

    def dropped_share(self) -> float:
        """The share of dropped utterances among dropped and kept ones, [0, 1]; 0 if there are none."""
        totals = self.to_json()["utterances"]
        whole = totals["kept"] + totals["dropped"]
        return totals["dropped"] / whole if whole else 0.0

    def print(self, console: PlainConsole) -> None:
        """Prints the counts by reason, the splits and the warnings."""
        totals = self.to_json()["utterances"]
        console.print(
            f"{totals['kept']} utterances kept ({totals['kept_degraded']} of them degraded), "
            f"{totals['dropped']} dropped, {totals['excluded']} excluded."
        )
        if self.findings:
            console.print(self._reason_table())
        if self.splits:
            console.print(self._split_table())
        for warning in self.warnings:
            console.print(f"Warning: {warning}")

    def _reason_table(self) -> Table:
        table = Table(Column("reason", no_wrap=True), "effect", "count", "meaning", "examples")
        for reason, findings in self.by_reason().items():
            effect, meaning = REASONS[reason]
            counts = _by_detail(reason, findings).get("by_detail", {})
            examples = ", ".join(f"{detail} {count}" for detail, count in counts.items()) or ", ".join(
                finding.id for finding in findings[:2]
            )
            table.add_row(reason, effect, str(len(findings)), meaning, examples)
        return table

    def _split_table(self) -> Table:
        labels = list(next(iter(self.splits.values()))["positives"])
        table = Table("split", "utterances", "videos", *labels)
        for split, counts in self.splits.items():
            values = [counts["utterances"], counts["videos"], *counts["positives"].values()]
            table.add_row(split, *map(str, values))
        return table


def _by_detail(reason: str, findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """The number of findings with each detail, for reasons with few details."""
    if reason not in _COUNTED_BY_DETAIL:
        return {}
    return {"by_detail": dict(sorted(Counter(finding.detail for finding in findings).items()))}


def _identifiers(groups: Mapping[str, Iterable[Finding]], effect: str) -> set[str]:
    return {f.id for reason, fs in groups.items() if REASONS[reason][0] == effect for f in fs}
