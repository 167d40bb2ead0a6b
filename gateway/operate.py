"""What an operator's commands do: ask a role's operators' API with a personal key, and tell people what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.client import ApiProblem, Profile, Session
from gateway.protocol.canonical import compact
from gateway.protocol.errors import UnavailableError
from gateway.protocol.identifiers import mint


async def operate(profile: Path, role: str, path: str, form: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask, or with `form` act; raises `ApiProblem` or `UnavailableError` as a sentence for people."""
    async with Session(Profile.load(profile), role) as session:
        if form is None:
            return (await session.get(f"/v1/operations/{path}")).json()
        return (await session.post(f"/v1/operations/{path}", compact(dict(form)), key=mint("req"))).json()


@dataclass(frozen=True)
class Report:
    """What one role says of itself; `silent` is why it could not be asked."""

    role: str
    checks: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    silent: str | None = None

    @property
    def ill(self) -> bool:
        return bool(self.silent or self.findings or any(check != "ok" for check in self.checks.values()))

    def lines(self) -> list[str]:
        """Say it for a terminal: one line if all is well, else what is wrong and the page that tells what to do."""
        if self.silent:
            return [f"{self.role}: does not answer: {self.silent}", "    docs/operating/alarms/not-ready.md"]
        if not self.ill:
            return [f"{self.role}: well ({len(self.checks)} checks)"]
        lines = [f"{self.role}: needs you"]
        lines += [f"    {name}: {check}" for name, check in self.checks.items() if check != "ok"]
        for found in self.findings:
            where = ", ".join(f"{name} {value}" for name, value in found["where"].items())
            what = f"{found['says']}{f' ({where})' if where else ''}: {found['value']}, limit {found['limit']}"
            lines += [f"    {found['alarm']}: {what}", f"        {found['page']}"]
        return lines

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def examine(profile: Path, roles: Sequence[str]) -> list[Report]:
    """Ask each role's doctor; one that does not answer, or refuses, is reported as silent."""
    reports = []
    for role in roles:
        try:
            found = await operate(profile, role, "doctor")
        except (ApiProblem, UnavailableError) as error:
            reports.append(Report(role, silent=str(error)))
        else:
            reports.append(Report(role, found["checks"], found["findings"]))
    return reports
