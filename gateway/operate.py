"""What an operator's commands do: ask a role's operators' API with a personal key, and tell people what it says."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.client import ApiProblem, Profile, Session
from gateway.client.transport import Retry
from gateway.protocol.canonical import compact
from gateway.protocol.errors import GatewayError, UnavailableError
from gateway.protocol.hints import HINTS
from gateway.protocol.identifiers import mint
from gateway.protocol.topics import MONEY_TOPICS

OPERATIONS = "/v1/operations"
PAGE = 200
IDS_MAX = 500
"""What the API takes in one list and in one wish."""


RETRY = Retry(attempts_max=2, longest_s=2.0)
"""A person waits for the answer, and can ask again."""

SCOPE = "operate"
"""What every operation here takes; the registry grants it to a client."""


class OperatorError(Exception):
    """Why a role did not do what was asked, in one sentence; `refused` if it answered, and its answer was no."""

    def __init__(self, sentence: str, *, refused: bool) -> None:
        super().__init__(sentence)
        self.refused = refused


@asynccontextmanager
async def _session(path: Path, role: str) -> AsyncIterator[Session]:
    """Speak with one role by a profile; every failure of it is an `OperatorError`, but not the profile's own."""
    profile = Profile.load(path)
    async with Session(profile, role, retry=RETRY) as session:
        try:
            yield session
        except ApiProblem as problem:
            # a server that fails or is overloaded has not refused; 404 without a code of ours is somebody else's
            raise OperatorError(_refusal(problem, profile, role), refused=problem.status < 500) from None
        except UnavailableError as error:
            hint = HINTS[error.code]
            raise OperatorError(f"{hint.sentence} {hint.fix_en} ({session.url})", refused=False) from None
        except GatewayError as error:
            unreadable = "what answers there is not a gateway of this version"
            raise OperatorError(f"{session.url}: {unreadable} ({error.code})", refused=False) from None


def _refusal(problem: ApiProblem, profile: Profile, role: str) -> str:
    """Say why a role refused: which scope or registration is missing and where it is granted, else its own hint."""
    client, entry = profile.client_id, f"the registry entry of {profile.party}"
    if problem.code in ("auth.scope", "auth.scope-refused"):
        if SCOPE not in profile.scopes:
            missing = f"The profile of {client} lacks the scope `{SCOPE}`"
            return f"{missing}: take an operator's profile, or have {entry} grant the scope (clients, `scopes`)."
        return f"The registry does not grant {client} the scope `{SCOPE}` for role {role}: see {entry} (clients)."
    if problem.code == "auth.client-unknown":
        return f"The registry does not list {client} for role {role}: see {entry} (clients, `roles`)."
    hint = HINTS.get(problem.code)
    if hint is None:
        at = f"HTTP {problem.status} from {profile.url_of(role)}"
        return f"{at}, which is not an answer of role {role}: check the profile's base URL and `roles`."
    places = "".join(f"; {fault.code} {fault.pointer}".rstrip() for fault in problem.errors)
    request = f", request {problem.request_id}" if problem.status >= 500 and problem.request_id else ""
    return f"{hint.sentence} {hint.fix_en} ({problem.status} {problem.code}{places}{request})"


async def ask(profile: Path, role: str, path: str) -> dict[str, Any]:
    """Read one answer; raises `OperatorError`."""
    async with _session(profile, role) as session:
        return (await session.get(f"{OPERATIONS}/{path}")).json()


async def ask_bytes(profile: Path, role: str, path: str) -> bytes:
    """Read an answer that is no JSON, as it comes."""
    async with _session(profile, role) as session:
        return (await session.get(f"{OPERATIONS}/{path}")).body


async def ask_list(
    profile: Path, role: str, what: str, limit: int | None = None, **query: str
) -> tuple[list[dict[str, Any]], bool]:
    """Read a list page by page, at most `limit` rows of it; says whether there are more."""
    async with _session(profile, role) as session:
        return await _read_list(session, what, limit, **query)


async def _read_list(session: Session, what: str, limit: int | None, **query: str) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while limit is None or len(found) < limit:
        wanted = PAGE if limit is None else min(PAGE, limit - len(found))
        page = (await session.get(f"{OPERATIONS}/{what}", query={"limit": str(wanted), **query, **after})).json()
        found += page[what]
        if "next" not in page:
            return found, False
        after = {"after": page["next"]}
    return found, True


@dataclass
class Outcome:
    """What came of a wish: how many messages were touched, requests that wait for a second person, what stays."""

    count: int = 0
    requests: list[str] = field(default_factory=list)
    stay: list[dict[str, Any]] = field(default_factory=list)

    def add(self, answer: Mapping[str, Any]) -> None:
        self.count += answer.get("count", 0)
        self.requests += [answer["request_id"]] if "request_id" in answer else []
        self.stay += answer.get("stay", [])

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def act(profile: Path, role: str, path: str, form: Mapping[str, Any], ids: Sequence[int] = ()) -> Outcome:
    """Have something done, in as many requests as `ids` take."""
    async with _session(profile, role) as session:
        return await _act(session, path, [{**form, "ids": list(part)} for part in _parts(ids)] or [dict(form)])


async def retry_all(profile: Path, role: str) -> Outcome:
    """Have everything parked tried again: what moves money as requests of its own, since it waits for another person.

    A request holds the ids that were there when it was asked for; what is parked later is in no one's request.
    """
    async with _session(profile, role) as session:
        found, _ = await _read_list(session, "parked", None)
        money = [row["id"] for row in found if row["topic"] in MONEY_TOPICS]
        others = [row["id"] for row in found if row["topic"] not in MONEY_TOPICS]
        forms = [{"ids": list(part)} for ids in (others, money) for part in _parts(ids)]
        return await _act(session, "parked/retry", forms)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX))


async def _act(session: Session, path: str, forms: Sequence[Mapping[str, Any]]) -> Outcome:
    outcome = Outcome()
    for form in forms:
        answer = await session.post(f"{OPERATIONS}/{path}", compact(dict(form)), key=mint("req"))
        outcome.add(answer.json())
    return outcome


@dataclass(frozen=True)
class Report:
    """What one role says of itself; `silent` is why it could not be asked, `refused` whether it answered at all."""

    role: str
    checks: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    silent: str | None = None
    refused: bool = False

    @property
    def ill(self) -> bool:
        return bool(self.silent or self.findings or any(check != "ok" for check in self.checks.values()))

    def lines(self) -> list[str]:
        """Say it for a terminal: one line if all is well, else what is wrong and the page that tells what to do."""
        if self.silent and self.refused:
            return [f"{self.role}: cannot be examined: {self.silent}"]
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
    """Ask every role's doctor at once; one that does not answer, or refuses, is reported with the reason."""
    Profile.load(profile)
    return list(await asyncio.gather(*(_examine(profile, role) for role in roles)))


async def _examine(profile: Path, role: str) -> Report:
    try:
        answer = await ask(profile, role, "doctor")
    except OperatorError as error:
        return Report(role, silent=str(error), refused=error.refused)
    return Report(role, answer["checks"], answer["findings"])
