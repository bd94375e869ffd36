"""Rows into a file: CSV and JSON Lines as text exactly as stored, Parquet with decimals that hold every value."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

from audit_wrapper.tables.export import Field, Scale
from audit_wrapper.tables.values import text_of, utc

_ROW_GROUP = 20_000  # rows; a reader of Parquet likes larger ones, memory smaller ones
_JSON = ("json", "jsonb")


class Writer(Protocol):
    """Takes rows, batch by batch."""

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these."""
        ...

    def end(self) -> None:
        """Write what belongs at the end."""
        ...


class Csv:
    """RFC 4180, UTF-8, one line of names. NULL is nothing between the commas; an empty text is two quotes."""

    def __init__(self, file: BinaryIO, fields: Sequence[Field]) -> None:
        self._file = file
        self._lines = io.StringIO()
        self._names = csv.writer(self._lines, lineterminator="\n")
        self._names.writerow(field.name for field in fields)

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these."""
        for row in rows:
            self._lines.write(",".join(map(_cell, row.values())))
            self._lines.write("\n")
        self._flush()

    def end(self) -> None:
        """Write what belongs at the end."""
        self._flush()

    def _flush(self) -> None:
        self._file.write(self._lines.getvalue().encode("utf-8"))
        self._lines.seek(0)
        self._lines.truncate()


class JsonLines:
    """One object a line. Numbers and times are text; a record's body is the JSON that it is."""

    def __init__(self, file: BinaryIO, fields: Sequence[Field]) -> None:
        self._file = file
        self._json = frozenset(field.name for field in fields if field.type in _JSON)

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these."""
        self._file.write("".join(map(self._line, rows)).encode("utf-8"))

    def end(self) -> None:
        """Write what belongs at the end."""

    def _line(self, row: Mapping[str, Any]) -> str:
        parts = (f"{json.dumps(name)}: {self._value(name, value)}" for name, value in row.items())
        return "{" + ", ".join(parts) + "}\n"

    def _value(self, name: str, value: Any) -> str:
        if name in self._json and value is not None:
            return str(value).replace("\n", " ").replace("\r", " ")  # between its parts: within a text there is none
        return json.dumps(text_of(value), ensure_ascii=False)


class Parquet:
    """Numbers are decimals of one scale for each column, or text where none holds them all; times have a zone, UTC."""

    def __init__(self, file: BinaryIO, fields: Sequence[Field], scales: Mapping[str, Scale | None]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow = pyarrow
        self._fields = {field.name: _arrow_type(pyarrow, field, scales.get(field.name)) for field in fields}
        self._schema = pyarrow.schema(list(self._fields.items()))
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._waiting: list[Any] = []

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these."""
        columns: list[list[Any]] = [[] for _ in self._fields]
        kinds = list(self._fields.values())
        for row in rows:
            for place, value in enumerate(row.values()):
                columns[place].append(_arrow_value(self._arrow, kinds[place], value))
        arrays = [self._arrow.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        self._waiting.append(self._arrow.record_batch(arrays, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._write()

    def end(self) -> None:
        """Write what belongs at the end."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(self._arrow.Table.from_batches(self._waiting))
        self._waiting = []


def _arrow_type(arrow: Any, field: Field, scale: Scale | None) -> Any:
    if field.type == "numeric" and scale is not None:
        return arrow.decimal128(*scale) if scale.precision <= 38 else arrow.decimal256(*scale)
    kinds = {
        "int2": arrow.int16(),
        "int4": arrow.int32(),
        "int8": arrow.int64(),
        "bool": arrow.bool_(),
        "float8": arrow.float64(),
        "bytea": arrow.binary(),
        "timestamp": arrow.timestamp("us", tz="UTC"),
        "timestamptz": arrow.timestamp("us", tz="UTC"),
        "date": arrow.date32(),
    }
    return kinds.get(field.type, arrow.string())


def _arrow_value(arrow: Any, kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if arrow.types.is_string(kind):
        return str(text_of(value))
    return utc(value) if arrow.types.is_timestamp(kind) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    value = text_of(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text == "" or any(mark in text for mark in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
