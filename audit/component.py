"""Wiring of the audit component, and of a witness, which is a component alone with its own key and store."""

from pathlib import Path

from audit import actions, witness
from audit.actions import Deps
from audit.handlers import take_records
from audit.jobs import JOBS
from audit.note import VerifierKey
from audit.routes import audit_routes, log_routes, witness_routes
from audit.tables import METADATA
from audit.witness_tables import METADATA as WITNESS_METADATA
from gateway.protocol.topics import AUDIT_RECORDS
from gateway.runtime.component import Component, Verbatim


def build(deps: Deps) -> Component:
    async def ready() -> str | None:
        return deps.sequencer.fork

    async def sources() -> str | None:
        return await actions.why_sources_stopped(deps)

    async def log() -> str | None:
        return await actions.why_log_stands(deps)

    return Component(
        name="audit",
        deps=deps,
        metadata=METADATA,
        migrations="audit.migrations",
        verbatim=(Verbatim(AUDIT_RECORDS, take_records),),
        routers=(audit_routes(deps),),
        jobs=JOBS,
        tasks=(deps.sequencer.run,),
        ready=ready,
        checks={"audit sources": sources, "audit log": log},
    )


def remember_vkey(folder: Path, year: str, vkey: VerifierKey) -> dict[str, str]:
    """Write this year's verifier key beside its log; return every year's, so that closed logs stay served."""
    (folder / year).mkdir(parents=True, exist_ok=True)
    (folder / year / "vkey").write_text(f"{vkey}\n", encoding="ascii")
    return {path.parent.name: path.read_text(encoding="ascii").strip() for path in sorted(folder.glob("*/vkey"))}


def build_log(folder: Path, vkeys: dict[str, str]) -> Component:
    """The log as files: `folder` holds one folder a year."""
    return Component("log", None, METADATA, "audit.migrations", routers=(log_routes(folder, vkeys),))


def build_witness(deps: witness.Deps) -> Component:
    return Component("witness", deps, WITNESS_METADATA, "audit.witness_migrations", routers=(witness_routes(deps),))
