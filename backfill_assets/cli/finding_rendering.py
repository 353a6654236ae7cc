"""Findings as lines of ``status``: grouped by kind, the first few of each, or all of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_FINDINGS_OF_A_KIND = 3  # without --all


def format_findings(findings: Sequence[Mapping[str, Any]], *, show_all: bool) -> Iterator[tuple[str, str]]:
    """Label and text of each line; the label of a kind stands before its first finding.

    Args:
        findings: the open findings of the status, newest first.
        show_all: every finding; else three of each kind, and how many more there are.
    """
    kinds = list(dict.fromkeys(finding["kind"] for finding in findings))
    for kind in kinds:
        group = [finding for finding in findings if finding["kind"] == kind]
        shown = group if show_all or len(group) == MAX_FINDINGS_OF_A_KIND + 1 else group[:MAX_FINDINGS_OF_A_KIND]
        for position, finding in enumerate(shown):
            text = f"{finding['subject']}: {finding['detail']} (since {finding['found_at']})"
            yield kind if position == 0 else "", text
        if len(group) > len(shown):
            yield "", f"… and {len(group) - len(shown):,} more of {len(group):,} (status --all shows every finding)"


def format_resolved(resolved: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Label and text of each finding that was resolved recently."""
    for position, finding in enumerate(resolved):
        text = f"{finding['kind']}: {finding['subject']}: {finding['detail']}"
        yield (
            "resolved" if position == 0 else "",
            f"{text} (from {finding['found_at']} to {finding['resolved_at']})",
        )
