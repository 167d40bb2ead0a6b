"""When a decision may stand on a bill: each line is explained once, and no more approved than was asked. Pure."""

from collections import Counter
from collections.abc import Sequence

from gateway.protocol.errors import Fault
from gateway.protocol.messages.decided import DecidedManifest


def decision_faults(
    decision: DecidedManifest,
    line_amounts_minor: Sequence[int],
    *,
    asked_minor: int,
    currency: str,
    hospital_bears: frozenset[str],
) -> list[Fault]:
    """Name what is wrong with a decision on a bill, root causes only; empty means that it may stand.

    A fault that follows from another one is not named: amounts in another currency cannot balance, and entries that
    do not balance say nothing about how much is approved.
    """
    faults = unbalanced(decision, line_amounts_minor)
    if decision.currency != currency:
        faults = [fault for fault in faults if fault.code != "decision.entry-unbalanced"]
        faults.append(Fault("decision.currency", "/currency"))
    if not faults and decision.benefit_minor > asked_minor:
        faults.append(Fault("decision.over-asked", "/entries"))
    faults += [
        Fault("decision.hospital-does-not-bear", f"/entries/{index}/bearer")
        for index, entry in enumerate(decision.entries)
        if entry.bearer == "hospital" and entry.class_code not in hospital_bears
    ]
    return faults


def unbalanced(decision: DecidedManifest, line_amounts_minor: Sequence[int]) -> list[Fault]:
    """Name every way in which the entries do not explain the bill exactly once; empty means they balance.

    A line that is named wrongly, or twice, is missing where it belongs: only lines that no wrong name explains are
    missing by themselves.
    """
    faults = []
    covered = Counter(line for entry in decision.entries for line in entry.lines)
    known = range(len(line_amounts_minor))
    for index, entry in enumerate(decision.entries):
        where = f"/entries/{index}"
        if any(line not in known for line in entry.lines):
            faults.append(Fault("decision.line-unknown", f"{where}/lines"))
        elif entry.sum_minor not in _sums_of(entry.lines, line_amounts_minor):
            faults.append(Fault("decision.entry-unbalanced", where))
        if any(covered[line] > 1 for line in entry.lines):
            faults.append(Fault("decision.line-twice", f"{where}/lines"))
    misnamed = sum(times - 1 if line in known else times for line, times in covered.items())
    missing = sum(line not in covered for line in known)
    if decision.final and missing > misnamed:
        faults.append(Fault("decision.line-missing", "/entries"))
    return faults


def _sums_of(lines: Sequence[int], line_amounts_minor: Sequence[int]) -> set[int]:
    """Return what an entry may sum to: a line that it names twice is a fault of its own."""
    return {sum(line_amounts_minor[line] for line in named) for named in (lines, set(lines))}
