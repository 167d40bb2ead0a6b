"""The catalogue of connectors to insurers' systems: a new one is one file in this folder and one line here.

It is empty: an insurer on the desk or on the standard inbox needs none.
"""

from collections.abc import Mapping
from types import MappingProxyType

from adapters.hk.desk.ports import Connector

CONNECTORS: Mapping[str, Connector] = MappingProxyType({})
