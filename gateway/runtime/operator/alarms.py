"""The alarms: what an operator is woken for. Prometheus has them as rules, `gateway doctor` compares them at once.

`python -m gateway.runtime.operator.alarms` writes `docs/operating/alarms/rules.yaml`; each alarm has a page of its own
there. A threshold is an operator's choice: copy the file and change it. Rates need Prometheus' memory; the doctor
leaves them out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import REGISTRY

RULES = Path(__file__).parents[3] / "docs" / "operating" / "alarms" / "rules.yaml"


@dataclass(frozen=True, slots=True)
class Alarm:
    """`metric` with `labels` above `limit` for `minutes`; with `window`, its increase over so many minutes."""

    name: str
    says: str
    metric: str
    limit: int
    minutes: int
    severity: str = "page"
    labels: Mapping[str, str] = field(default_factory=dict)
    window: int | None = None
    below: bool = False

    @property
    def page(self) -> str:
        return f"docs/operating/alarms/{self.name}.md"

    def expression(self) -> str:
        """Write the condition in PromQL."""
        chosen = ", ".join(f'{name}="{value}"' for name, value in sorted(self.labels.items()))
        series = f"{self.metric}{{{chosen}}}" if chosen else self.metric
        measured = f"increase({series}[{self.window}m])" if self.window else series
        return f"{measured} {'<' if self.below else '>'} {self.limit}"

    def rings(self, value: float) -> bool:
        """Say whether a value is past the limit; a value nobody could measure is not."""
        return value < self.limit if self.below else value > self.limit


def _waits(name: str, says: str, stage: str, *, limit_s: int, severity: str = "page") -> Alarm:
    return Alarm(name, says, "gateway_waiting_oldest_seconds", limit_s, 1, severity, {"stage": stage})


def _counts(name: str, says: str, metric: str, limit: int, **labels: str) -> Alarm:
    return Alarm(name, says, metric, limit, 0, "ticket", labels, window=15)


ALARMS = (
    Alarm("not-ready", "A role cannot do its work", "gateway_ready", 1, 2, below=True),
    Alarm("role-absent", "The process of a role does not answer", "up", 1, 2, below=True),
    Alarm(
        "gauges-old",
        "A role measures nothing any more, and its gauges are old",
        "gateway_measured_age_seconds",
        60,
        0,
    ),
    Alarm("source-stopped", "The log takes nothing more of a role", "gateway_source_stopped", 0, 0),
    Alarm(
        "log-unanswered",
        "A role cannot ask the audit role what the log has of it",
        "gateway_source_unanswered_seconds",
        600,
        0,
        "ticket",
    ),
    Alarm("log-stands", "Entries or the signed head wait for their next step", "gateway_log_standing_seconds", 120, 0),
    _waits("outbox-waits", "Messages do not get onto the bus", "outbox", limit_s=120),
    Alarm("outbox-fills", "Intake will stop with 503 when the outbox is full", "gateway_outbox_fill_percent", 50, 1),
    _waits("records-wait", "Audit records do not get onto the bus", "audit", limit_s=300),
    Alarm("relay-holds", "The bus refuses messages for good; their keys wait", "gateway_relay_held", 0, 0),
    _waits("feed-waits", "Parties are not shown what happened", "feed", limit_s=60),
    Alarm(
        "consumer-stopped", "A consumer stopped after halts and takes nothing more", "gateway_consumer_stopped", 0, 0
    ),
    Alarm(
        "consumer-stands",
        "Records lie before a consumer that takes none",
        "gateway_consumer_standing_seconds",
        60,
        0,
    ),
    Alarm("timer-stands", "A timer has not come to its end for long", "gateway_job_overdue_seconds", 60, 0),
    Alarm("loop-blocked", "Long work blocks the event loop of a process", "gateway_loop_lag_seconds", 2, 2, "ticket"),
    Alarm("lag-grows", "A consumer falls behind", "gateway_consumer_lag", 5000, 10, "ticket"),
    _waits("gap-stays", "A message before others has not come", "parked-gap", limit_s=60),
    _waits("retries-last", "A message has been tried again for long", "parked-retry", limit_s=600, severity="ticket"),
    _waits("message-halted", "A message halted on a fault of ours", "parked-halt", limit_s=0),
    _waits("message-held", "A message of a compromised or expired key waits for a decision", "parked-held", limit_s=0),
    _counts("quarantined", "Bytes without a known author came", "gateway_deliveries_total", 0, result="quarantined"),
    _counts("bus-rebuilds", "Kafka clients are thrown away again and again", "gateway_bus_rebuilds_total", 5),
    _counts("sends-unknown", "Kafka leaves sends without an answer", "gateway_bus_unknown_sends_total", 500),
    Alarm(
        "bank-cursor-stuck", "The notifications of a bank cannot be read", "gateway_bank_cursor_stuck_seconds", 120, 1
    ),
    Alarm(
        "breaks-wait",
        "A bank row has waited for a person for a day",
        "gateway_bank_breaks_oldest_seconds",
        86_400,
        1,
        "ticket",
    ),
    _counts("timers-fail", "A timer fails again and again", "gateway_jobs_total", 3, result="failed"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One alarm that would ring by what is measured now; `where` are the series' other labels."""

    alarm: Alarm
    where: Mapping[str, str]
    value: float


def findings(role: str) -> Iterator[Finding]:
    """Compare this process' gauges of a role with every alarm that needs no memory."""
    samples = [
        sample for metric in REGISTRY.collect() for sample in metric.samples if sample.labels.get("role") == role
    ]
    for alarm in ALARMS:
        if alarm.window is None:
            wanted = {"role": role, **alarm.labels}
            for sample in samples:
                if (
                    sample.name == alarm.metric
                    and wanted.items() <= sample.labels.items()
                    and alarm.rings(sample.value)
                ):
                    where = {name: value for name, value in sample.labels.items() if name not in wanted}
                    yield Finding(alarm, where, sample.value)


def rules() -> str:
    """Write every alarm as a rule of Prometheus."""
    head = "# Generated by `python -m gateway.runtime.operator.alarms`; a threshold of your own belongs into a copy.\n"
    return head + "groups:\n  - name: gateway\n    rules:\n" + "".join(map(_rule, ALARMS))


def _rule(alarm: Alarm) -> str:
    return (
        f"      - alert: {alarm.name}\n"
        f"        expr: '{alarm.expression()}'\n"
        f"        for: {alarm.minutes}m\n"
        f"        labels: {{severity: {alarm.severity}}}\n"
        f"        annotations: {{summary: '{alarm.says}', runbook: '{alarm.page}'}}\n"
    )


if __name__ == "__main__":
    RULES.write_text(rules(), encoding="utf-8", newline="\n")
