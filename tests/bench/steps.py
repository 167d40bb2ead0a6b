"""What one claim costs, step by step: the same functions that intake and relays call, one after the other, one core."""

import gc
import time
from collections.abc import Callable
from pathlib import Path

from adapters.sz.actions import Deps
from adapters.sz.actions.intake import accept, submit
from adapters.sz.formats import FORMATS
from gateway.protocol.canonical import compact
from gateway.protocol.clock import SystemClock
from gateway.protocol.jose import Typ, seal, sign
from gateway.roles import open_all
from gateway.sandbox.bank import create_bank
from gateway.sandbox.folders import init
from gateway.sandbox.layout import Layout
from gateway.sandbox.trust import HOSPITAL
from tests.bench.bills import bill_body
from tests.bench.rows import Row

ROUNDS = 200


def _mean_ms(call: Callable[[int], object]) -> float:
    for number in range(10):
        call(number)
    gc.collect()
    started = time.perf_counter()
    for number in range(ROUNDS):
        call(number)
    return (time.perf_counter() - started) / ROUNDS * 1000


async def measure_steps(folder: Path) -> list[Row]:
    """Open a house without starting its relays, so that nothing else runs, and time each step of intake alone."""
    data = folder / "steps"
    clock = SystemClock()
    init(data, layout=Layout("http://127.0.0.1:1"), clock=clock)
    gateway = await open_all(data, clock, extra_apps={"/bank": create_bank(data / "bank", clock)})
    try:
        core = next(process for process in gateway.processes if process.settings.role == "core")
        process = next(process for process in gateway.processes if process.settings.role == "sz")
        process.trust.install(core.trust.signed, core.trust.directory)
        deps = next(component.deps for component in process.components if component.name == "sz")
        return await _steps(deps)
    finally:
        await gateway.close()


async def _steps(deps: Deps) -> list[Row]:
    bodies = [bill_body(number) for number in range(2 * ROUNDS + 20)]
    form = FORMATS["national_json"]
    read = _mean_ms(lambda number: form.read(bodies[number]))
    whole = _mean_ms(lambda number: accept(deps, HOSPITAL, bodies[number]))
    accepted = accept(deps, HOSPITAL, bodies[0])
    payload = compact(accepted.minimised.manifest.model_dump(mode="json", exclude_none=True))
    signing = _mean_ms(lambda _: sign(payload, deps.keyring.named(f"{HOSPITAL}/sign/"), Typ.MANIFEST))
    reader = deps.trust.directory.seal_key("ins-lantau", deps.clock.now())
    archive = deps.keyring.named(f"{HOSPITAL}/seal/").public
    sealing = _mean_ms(lambda _: seal(accepted.minimised.packed, [reader, archive]))
    one_by_one = await _submit_ms(deps, bodies, whole)
    note = f"mean of {ROUNDS}, 30 lines, one core"
    figures = {
        "step: read the bill": read,
        "step: check, minimise, pack": whole - read - signing - sealing,
        "step: sign the manifest": signing,
        "step: seal the dossier": sealing,
        "step: commit with outbox and audit record": one_by_one,
    }
    return [Row(name, value, "ms", "sqlite", "embedded", note) for name, value in figures.items()]


async def _submit_ms(deps: Deps, bodies: list[bytes], accept_ms: float) -> float:
    """Time whole submissions one by one; what `accept` does not explain is the commit and its flush."""
    started = time.perf_counter()
    for number in range(ROUNDS):
        await submit(deps, HOSPITAL, f"step-{number}", bodies[ROUNDS + number])
    return (time.perf_counter() - started) / ROUNDS * 1000 - accept_ms
