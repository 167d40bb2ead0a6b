"""Wiring of the catalogue component: it holds one release, the empty one until a catalogue is loaded."""

from sqlalchemy import MetaData

from gateway.catalogue.routes import catalogue_routes
from gateway.protocol.uses import EMPTY
from gateway.runtime.component import Component


def build() -> Component:
    return Component(
        name="catalogue",
        deps=None,
        metadata=MetaData(),
        migrations="gateway.catalogue.migrations",
        routers=(catalogue_routes(EMPTY),),
    )
