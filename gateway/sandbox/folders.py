"""`gateway sandbox init`: writes everything a trial needs before the first start.

trust.json            the offline root's public key, a settings file of every role
registry/             signed release 1; bank accounts, which only core reads
roles/<role>/         settings.toml, keys/ (mode 600); the role's database appears beside them
calendars/            a labelled synthetic calendar on which every day is open
bank/                 the simulated bank's profile; its journal appears beside it
profiles/             one file per program or person, mode 600, so that any outside program can act as it
kafka/, postgres/     of services only: what the broker and the database server start with
offline/              root and registry key: in real life they never lie on a server
"""

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from gateway.folder_lock import LOCK, MARKER, UNFINISHED, empty_sandbox
from gateway.protocol.canonical import pretty, read_json_object
from gateway.protocol.clock import Clock
from gateway.protocol.commitments import verifier_key
from gateway.protocol.jose import PrivateKey
from gateway.protocol.registry import Client, Use
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import (
    API_INSURER,
    DESK_INSURER,
    HOSPITAL,
    LABEL,
    ROLES,
    Actor,
    Sandbox,
    found,
    write,
    write_secret,
)

CALENDAR = """kind,value,title,citation
name,sandbox,SYNTHETIC: every day is open,made up for trials
weekend,none,no weekend,made up for trials
confirmed_from,2026-01-01,from,made up for trials
confirmed_through,2099-12-31,to,made up for trials
"""

LOG_DOMAIN = "szhk-gateway.sandbox.example"

INSTITUTION = "H44030599999"
"""The national code on the sample bills; no institution has it."""

OPENING_MINOR = 1_000_000_000_00


def init(folder: Path, *, layout: Layout, clock: Clock) -> Sandbox:
    """Write a new sandbox into `folder`, new or empty; `FileExistsError` if it holds anything.

    Who may be served from it while this runs holds its lock. What an earlier `init` left half written is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (folder / UNFINISHED).exists():
        empty_sandbox(folder)
    if {path.name for path in folder.iterdir()} - {LOCK}:
        raise FileExistsError(folder)
    write(folder / UNFINISHED, "")
    sandbox = found(folder, layout=layout, clock=clock)
    write(folder / "calendars" / "sandbox.csv", CALENDAR.rstrip())
    year = clock.now().year
    log_key = PrivateKey.generate("audit/log/1", "Ed25519")
    log_vkey = verifier_key(f"{LOG_DOMAIN}/szhk-audit/{year}", log_key.public)
    for role in ROLES:
        _write_role(sandbox, role, _extra(sandbox, role, year, log_vkey))
    write_secret(folder / "roles" / "audit" / "keys" / "audit__log__1.jwk", log_key.encode())
    _write_log_trust(sandbox, log_vkey)
    _write_bank(sandbox)
    for actor in sandbox.actors.values():
        for client in actor.clients:
            _write_profile(sandbox, actor, client)
    _write_bills(folder / "bills")
    # from here on it is a whole sandbox
    write(folder / MARKER, pretty({"label": LABEL, "base_url": layout.base_url}))
    (folder / UNFINISHED).unlink()
    return sandbox


def rebase(folder: Path, base_url: str) -> None:
    """Point an existing sandbox at another address: profiles, settings, bank and witness URLs.

    Every file is replaced whole and `sandbox.json` last: if we die here, the next start does the rest.
    """
    before = read_json_object((folder / MARKER).read_bytes())["base_url"]
    if before == base_url:
        return
    # not `:8080` inside of `:80801`
    address = re.compile(re.escape(before) + "(?![0-9])")
    patterns = ("profiles/*.json", "roles/*/settings.toml", "roles/*/*.json", "log-policy.txt", MARKER)
    for path in (path for pattern in patterns for path in sorted(folder.glob(pattern))):
        text = path.read_text(encoding="utf-8")
        if address.search(text):
            _replace(path, address.sub(lambda _: base_url, text))


def _replace(path: Path, text: str) -> None:
    """Write a file anew under its mode, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def complete(folder: Path) -> None:
    """Give a sandbox of an earlier state the settings that have become mandatory since, in place."""
    path = folder / "roles" / "sz" / "settings.toml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    format_line = f'"format.{HOSPITAL}" = "national_json"\n'
    if format_line in text and f'"institutions.{HOSPITAL}"' not in text:
        line = f'"institutions.{HOSPITAL}" = "{INSTITUTION}"\n'
        path.write_text(text.replace(format_line, format_line + line), encoding="utf-8")


def _write_role(sandbox: Sandbox, role: str, extra: Mapping[str, str]) -> None:
    folder = sandbox.folder / "roles" / role
    kind = "witness" if role.startswith("witness") else role
    settings: dict[str, Any] = {
        "role": kind,
        "instance": role,
        "custody": "hosted",
        "trust_file": "../../trust.json",
        "base_url": sandbox.layout.url_of(role),
    }
    if sandbox.layout.inner:
        settings["inner_url"] = sandbox.layout.inner_url_of(role)
    if kind not in ("witness", "audit"):
        settings["audit_url"] = sandbox.layout.inner_url_of("audit")
    if kind != "witness":
        settings |= _bus(sandbox.layout, role, folder)
    if sandbox.layout.database:
        write_secret(folder / "secrets" / "gateway_database_url", sandbox.layout.database_of(role).encode())
    if role == "core":
        settings["registry_folder"] = "../../registry"
    write(folder / "settings.toml", _toml(settings, extra))
    write_secret(folder / "keys" / "storage.key", secrets.token_bytes(32))
    access = PrivateKey.generate(f"{role}/access/1", "Ed25519")
    for key in (access, *_keys_of(sandbox, role)):
        write_secret(folder / "keys" / f"{key.kid.replace('/', '__')}.jwk", key.encode())
    if role == "sz":
        write_secret(folder / "keys" / f"{HOSPITAL}.token", secrets.token_bytes(32))
        write(folder / "pins.json", pretty(_pins(sandbox)))


def _bus(layout: Layout, role: str, folder: Path) -> dict[str, Any]:
    if not layout.kafka:
        return {"bus": "embedded:../../bus.db"}
    settings = {"bus": f"kafka:{layout.kafka}"}
    if layout.kafka_ca_file:
        write_secret(folder / "keys" / "kafka.password", secrets.token_urlsafe(24).encode())
        settings |= {"kafka_user": role, "kafka_ca_file": layout.kafka_ca_file}
    return settings


def _keys_of(sandbox: Sandbox, role: str) -> Iterable[PrivateKey]:
    """Choose the keys a role's folder holds: its own, and those of parties whose custody it has."""
    yield from sandbox.actors[role].keys.values()
    if role == "sz":
        yield from _named(sandbox.actors[HOSPITAL], Use.SIGN, Use.SEAL)
    if role == "insurer":
        yield from _named(sandbox.actors[DESK_INSURER], Use.SIGN, Use.SEAL)
        yield sandbox.actors[DESK_INSURER].keys[f"{DESK_INSURER}/token/ins-harbour-desk"]


def _named(actor: Actor, *uses: Use) -> Iterable[PrivateKey]:
    wanted = tuple(f"{actor.code}/{use}/" for use in uses)
    return (key for kid, key in actor.keys.items() if kid.startswith(wanted))


def _pins(sandbox: Sandbox) -> dict[str, list[str]]:
    """Pin insurers' sign and seal keys: the edge seals to no other, whatever a release says."""
    return {
        code: [row.x for row in sandbox.actors[code].rows if row.use in (Use.SIGN, Use.SEAL)]
        for code in (DESK_INSURER, API_INSURER)
    }


def _extra(sandbox: Sandbox, role: str, year: int, log_vkey: str) -> dict[str, str]:
    if role == "sz":
        return {
            f"format.{HOSPITAL}": "national_json",
            f"institutions.{HOSPITAL}": INSTITUTION,
            "pins": "pins.json",
        }
    if role == "core":
        return {"calendar": "../../calendars/sandbox.csv", "bank_profile": "bank-profile.json"}
    if role == "insurer":
        return {"party": DESK_INSURER, "client_id": "ins-harbour-desk", "hk_url": sandbox.layout.inner_url_of("hk")}
    if role == "audit":
        return {"log_domain": LOG_DOMAIN, "inception": f"{year}-01-01", "policy": "../../log-policy.txt"}
    return {"log_vkeys": log_vkey} if "witness" in role else {}


def _write_log_trust(sandbox: Sandbox, log_vkey: str) -> None:
    """What an auditor must get elsewhere than from the log: its key, the witnesses and quorum, the sources' keys."""
    witnesses = {
        name: verifier_key(name, sandbox.actors[name].keys[f"{name}/audit/1"].public, b"\x04")
        for name in ("witness-sz", "witness-hk")
    }
    lines = [f"log {log_vkey}"]
    lines += [f"witness {name} {vkey} {sandbox.layout.inner_url_of(name)}" for name, vkey in witnesses.items()]
    lines += ["group both all witness-sz witness-hk", "quorum both"]
    policy = "\n".join(lines)
    write(sandbox.folder / "log-policy.txt", policy)
    sources = [
        verifier_key(role, sandbox.actors[role].keys[f"{role}/audit/1"].public)
        for role in ROLES
        if not role.startswith("witness")
    ]
    trust = {"log": log_vkey, "policy": policy + "\n", "sources": sources}
    write(sandbox.folder / "profiles" / "log-trust.json", pretty(trust))


def _toml(settings: Mapping[str, Any], extra: Mapping[str, str]) -> str:
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    lines += ["", "[extra]", *(f'"{name}" = "{value}"' for name, value in extra.items())]
    return "\n".join(lines)


def _write_bank(sandbox: Sandbox) -> None:
    token = secrets.token_urlsafe(24)
    insurers = [_account(code, f"HK{number:010d}", "Hong Kong", "HK") for number, code in _numbered_insurers()]
    hospital = _account(HOSPITAL, "4403000000000001", "Shenzhen", "CN")
    write_secret(
        sandbox.folder / "registry" / "accounts.json",
        pretty({"accounts": [*insurers, hospital]}).encode(),
    )
    held = [
        {
            "account": account["account"],
            "holder": account["name"],
            "currency": account["currency"],
            "member_id": account["agent"]["member_id"],
            "opening_minor": 0 if account["party"] == HOSPITAL else OPENING_MINOR,
        }
        for account in (*insurers, hospital)
    ]
    bank = {"token": token, "fee_account": "FEES", "accounts": held, "faults": []}
    write_secret(sandbox.folder / "bank" / "bank.json", pretty(bank).encode())
    profile = {
        "bank": "bank-sandbox",
        "channel": "iso20022_http",
        "rail": "sandbox",
        "answer_within_s": 60,
        "options": {
            "base_url": sandbox.layout.inner_url_of("bank"),
            "token": token,
            "charge_bearer": "DEBT",
            "rmb_purpose_field": "unset",
            "timeout_s": 10,
        },
    }
    write_secret(sandbox.folder / "roles" / "core" / "bank-profile.json", pretty(profile).encode())


def _numbered_insurers() -> Iterable[tuple[int, str]]:
    return enumerate((DESK_INSURER, API_INSURER), start=1)


def _account(party: str, number: str, town: str, country: str) -> dict[str, Any]:
    """A bank account as registered: the fields of settlement's AccountHolder. All numbers are made up."""
    names = {
        HOSPITAL: "NANSHAN BAY SANDBOX HOSPITAL",
        DESK_INSURER: "HARBOUR SANDBOX INSURANCE",
        API_INSURER: "LANTAU SANDBOX INSURANCE",
    }
    mainland = {"clearing_system": "CNAPS", "member_id": "999584000000"}
    hong_kong = {"clearing_system": "HKNCC", "member_id": "999"}
    return {
        "party": party,
        "name": names[party],
        "town": town,
        "country": country,
        "account": number,
        "currency": "CNY",
        "agent": mainland if country == "CN" else hong_kong,
    }


def _write_profile(sandbox: Sandbox, actor: Actor, client: Client) -> None:
    profile: dict[str, Any] = {
        "party": actor.code,
        "client_id": client.client_id,
        "base_url": sandbox.layout.base_url,
        "roles": sandbox.layout.profile_roles(),
        "scopes": list(client.scopes),
        "token_key": _jwk(actor.keys[client.kid]),
        "trust": sandbox.trust.model_dump(mode="json"),
        "synthetic": True,
    }
    if client.person is not None:
        profile["person"] = client.person
        personal = [row.kid for row in actor.rows if row.use is Use.APPROVE and row.person == client.person]
        if personal:
            profile["sign_key"] = _jwk(actor.keys[personal[0]])
    elif actor.custody == "own" and actor.kind == "insurer":
        profile["sign_key"] = _jwk(next(iter(_named(actor, Use.SIGN))))
        profile["seal_key"] = _jwk(next(iter(_named(actor, Use.SEAL))))
    write_secret(sandbox.folder / "profiles" / f"{client.client_id}.json", pretty(profile).encode())


def _jwk(key: PrivateKey) -> dict[str, Any]:
    return read_json_object(key.encode())


def _write_bills(folder: Path) -> None:
    """Copy the sample bills beside the sandbox; every person in them is synthetic."""
    for bill in sorted(files("gateway.sandbox").joinpath("bills").iterdir(), key=lambda path: path.name):
        if bill.name.endswith(".json"):
            write(folder / bill.name, bill.read_text(encoding="utf-8").rstrip())
