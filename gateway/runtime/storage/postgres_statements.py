"""SQLAlchemy Core statements as asyncpg takes them: SQL text, arguments in order, rows with names.

SQLAlchemy writes and compiles every statement, asyncpg runs it; the engine, pool and cursor between them would cost
two thirds of each exchange (decision 0011). Compiled once per shape of statement, whatever its values.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any, cast

import asyncpg
from sqlalchemy import Executable, Row, Table, TextClause, make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ClauseElement

Values = Mapping[str, Any]
_PLACE = re.compile(r"\$(\d+)")

_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_COMPILED: dict[Any, Any] = {}
"""SQLAlchemy's own cache of compiled statements; its keys leave values out, so it grows with the code only."""


@dataclass(slots=True)
class _Shape:
    """What is known of every statement that compiles to the same SQL."""

    compiled: SQLCompiler | None
    tables: frozenset[str]
    returns_rows: bool
    names: Sequence[str]
    titles: SimpleResultMetaData | None = field(default=None)


_SHAPES: dict[int, _Shape] = {}
"""By the identity of the compiled statement, which `_COMPILED` keeps alive."""


@dataclass(slots=True)
class Prepared:
    """One statement with one set of arguments for each time that it is to run."""

    sql: str
    arguments: Sequence[Sequence[Any]]
    shape: _Shape

    @property
    def tables(self) -> frozenset[str]:
        return self.shape.tables

    def rows(self, records: Sequence[asyncpg.Record]) -> Sequence[Row[Any]]:
        """Give asyncpg's records the names that code reads them by."""
        if not records:
            return []
        titles = self.shape.titles
        if titles is None:
            titles = self.shape.titles = SimpleResultMetaData(tuple(records[0].keys()))
        index = titles._key_to_index  # noqa: SLF001 what every Row of SQLAlchemy is made from
        return [Row(titles, None, index, tuple(record)) for record in records]


def connect_options(url: str) -> dict[str, Any]:
    """Read a database URL as SQLAlchemy does; returns the keyword arguments of `asyncpg.connect`."""
    _, options = _DIALECT.create_connect_args(make_url(url))  # type: ignore[no-untyped-call]
    return dict(options)


def tables_of(statement: Executable) -> frozenset[str]:
    """Name the tables that a statement reads or writes."""
    elements = visitors.iterate(cast("ClauseElement", statement))
    return frozenset(element.name for element in elements if isinstance(element, Table))


def prepare(statement: Executable, parameters: Values | Sequence[Values] | None) -> Prepared:
    """Compile a statement, or find it compiled, and put its arguments in order."""
    sets: Sequence[Values] = [parameters or {}] if parameters is None or isinstance(parameters, Mapping) else parameters
    columns = sorted(sets[0])
    element = cast("ClauseElement", statement)
    # for_executemany: an insert is not made to return the key that the database counts up
    found, extracted, _, _ = element._compile_w_cache(  # noqa: SLF001 how SQLAlchemy's own connection gets at its cache
        _DIALECT, compiled_cache=_COMPILED, column_keys=columns, for_executemany=True
    )
    compiled = cast("SQLCompiler", found)
    shape = _SHAPES.get(id(compiled)) or _shape(compiled, statement)
    if compiled.post_compile_params:
        return _expanded(compiled, shape, sets[0], extracted)
    return Prepared(compiled.string, [_ordered(shape, one, extracted) for one in sets], shape)


def _shape(compiled: SQLCompiler, statement: Executable) -> _Shape:
    returns = isinstance(statement, TextClause) or bool(compiled._result_columns)  # noqa: SLF001
    shape = _Shape(compiled, tables_of(statement), returns, compiled.positiontup or ())
    _SHAPES[id(compiled)] = shape
    return shape


def _ordered(shape: _Shape, values: Values, extracted: Sequence[BindParameter[Any]] | None) -> Sequence[Any]:
    try:
        return [values[name] for name in shape.names]
    except KeyError:  # values stand in the statement itself, e.g. in a comparison
        compiled = cast("SQLCompiler", shape.compiled)
        full = compiled.construct_params(values, extracted_parameters=extracted)
        return [full[name] for name in shape.names]


def _expanded(
    compiled: SQLCompiler, shape: _Shape, values: Values, extracted: Sequence[BindParameter[Any]] | None
) -> Prepared:
    """Write an IN with as many places as it has values this time."""
    full = compiled.construct_params(values, extracted_parameters=extracted)
    state = compiled.construct_expanded_state(full)
    return Prepared(state.statement, [list(state.positional_parameters)], shape)


def combine(parts: Sequence[Prepared]) -> Prepared:
    """Make one statement of several that are to run equally often; it returns how many rows each touched.

    All see the database as it was before any of them (PostgreSQL manual, 7.8.4), so they must not depend on each other.
    """
    if len(parts) == 1 and not parts[0].shape.returns_rows:
        return parts[0]
    sql, shape = _combined(tuple((part.sql, part.shape.returns_rows) for part in parts))
    arguments = [list(chain.from_iterable(one)) for one in zip(*(part.arguments for part in parts), strict=True)]
    return Prepared(sql, arguments, shape)


@cache
def _combined(parts: tuple[tuple[str, bool], ...]) -> tuple[str, _Shape]:
    texts, shift = [], 0
    for sql, returns_rows in parts:
        moved = _PLACE.sub(partial(_moved, by=shift), sql)
        texts.append(moved if returns_rows else f"{moved} RETURNING 1")
        shift += max((int(place) for place in _PLACE.findall(sql)), default=0)
    named = ", ".join(f"part_{number} AS ({text})" for number, text in enumerate(texts))
    counts = [f"(SELECT count(*) FROM part_{number}) AS count_{number}" for number in range(len(texts))]  # noqa: S608
    return f"WITH {named} SELECT {', '.join(counts)}", _Shape(None, frozenset(), True, ())


def _moved(place: re.Match[str], by: int) -> str:
    return f"${int(place[1]) + by}"
