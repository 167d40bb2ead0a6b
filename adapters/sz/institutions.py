"""The institutions of each hospital: a bill of any other one is refused, whoever sends it.

The operator writes the national codes (`fixmedins_code`) into the role's settings, as `institutions.<hospital>`.
"""

from collections.abc import Iterable

from gateway.protocol.errors import MalformedInputError
from gateway.protocol.product_identifiers import parse_nhsa_institution
from gateway.runtime.settings import RoleSettings, SettingsError


def load_institutions(settings: RoleSettings, hospitals: Iterable[str]) -> dict[str, frozenset[str]]:
    """Read the national codes of each hospital's institutions, separated by blanks; `SettingsError` without any."""
    institutions = {}
    for hospital in hospitals:
        name = f"institutions.{hospital}"
        codes = settings.own(name).split()
        try:
            institutions[hospital] = frozenset(map(parse_nhsa_institution, codes))
        except MalformedInputError:
            codes = []
        if not codes:
            raise SettingsError(f"{settings.folder.name}/settings.toml: [extra] {name} needs valid institution codes")
    return institutions
