"""The catalogue of bank channels: one folder and one line each. They translate and do no I/O."""

from collections.abc import Mapping
from typing import Any

from settlement.channels.iso20022_http import Iso20022Http
from settlement.ports import Channel

CHANNELS: Mapping[str, Channel[Any]] = {
    "iso20022_http": Iso20022Http(),
}
