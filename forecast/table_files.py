"""Open a table file, whatever its kind, and hand out its columns batch by batch.

Knows Parquet and CSV and how each can be broken; knows nothing of what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from solver.domain.errors import InvalidInputError

PARQUET_MAGIC: Final = b"PAR1"
BATCH_ROWS: Final = 524_288
TEXT_COLUMNS: Final = ("vm", "ts", "app_type", "metric")
KNOWN_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"ARROW1": "Arrow IPC",
    b"SQLite": "SQLite",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
}


class TableFile(Protocol):
    """A table that can be gone through more than once."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the file."""
        ...

    def batches(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order, with only the given columns."""
        ...


def open_table(path: Path) -> TableFile:
    """Open a Parquet or CSV file by what it contains, not by its name.

    Raises
    ------
    InvalidInputError
        If it does not exist, is empty, is truncated, or is of another kind.
    """
    if not path.exists():
        raise InvalidInputError(f"{path}: no such file")
    if not path.is_file():
        raise InvalidInputError(f"{path}: expected a file, found a folder")
    try:
        with path.open("rb") as file:
            head = file.read(8192)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise InvalidInputError(f"{path}: the file is empty")
    if head.startswith(PARQUET_MAGIC):
        return _open_parquet(path)
    kind = next((name for magic, name in KNOWN_MAGIC.items() if head.startswith(magic)), None)
    if kind is None and (b"\0" in head or not _is_text(head)):
        kind = "binary"
    if kind is None and path.suffix.lower() in (".parquet", ".pq"):
        kind = "text"
    if kind is not None:
        raise InvalidInputError(
            f"{path}: is a {kind} file; expected tidy Parquet, or CSV text in UTF-8"
        )
    return _open_csv(path)


def _is_text(head: bytes) -> bool:
    # A multi-byte character may be cut at the end of what was read.
    return any(_decodes(head[: len(head) - cut]) for cut in range(4))


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parquet:
    path: Path
    columns: tuple[str, ...]
    nested: frozenset[str]

    def batches(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        names = [name for name in columns if name in TEXT_COLUMNS and name != "ts"]
        # Asking for codes of a nested column is a KeyError; its type is refused by the reader.
        dictionaries = [name for name in names if name not in self.nested]
        try:
            with pq.ParquetFile(self.path, read_dictionary=dictionaries) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=list(columns))
                    yield from table.unify_dictionaries().combine_chunks().to_batches()
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(
                f"{self.path}: damaged Parquet file: {error}; expected every page to be readable"
            ) from error


def _open_parquet(path: Path) -> _Parquet:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 4))
        if size < 12 or file.read(4) != PARQUET_MAGIC:
            raise InvalidInputError(
                f"{path}: truncated Parquet file of {size} bytes: it begins as one but its footer "
                f"is missing; expected it to end with {PARQUET_MAGIC.decode()}"
            )
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path}: damaged Parquet file: {error}") from error
    nested = frozenset(field.name for field in schema if pa.types.is_nested(field.type))
    return _Parquet(path=path, columns=_distinct(path, tuple(schema.names)), nested=nested)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Csv:
    path: Path
    columns: tuple[str, ...]

    def batches(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        types = {
            name: pa.string()
            if name in TEXT_COLUMNS
            else (pa.int64() if name == "state" else pa.float64())
            for name in columns
        }
        try:
            with pa_csv.open_csv(
                self.path,
                # One thread, so that a bad value is reported with its row.
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 24),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=types,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ) as reader:
                yield from reader
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"{self.path}: damaged CSV file: {error}") from error


def _open_csv(path: Path) -> _Csv:
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline().strip().lstrip("\ufeff")
    columns = tuple(name.strip().strip('"') for name in header.split(","))
    if len(columns) < 2:
        raise InvalidInputError(
            f"{path}: the first line is {header[:80]!r}; expected comma-separated column names"
        )
    return _Csv(path=path, columns=_distinct(path, columns))


def _distinct(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns; raise if two have the same name, since either could be meant."""
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise InvalidInputError(
            f"{path}: column {twice[0]!r} appears {columns.count(twice[0])} times; expected every "
            "column once"
        )
    return columns


def names_of(path: Path, column: Any, name: str) -> pa.DictionaryArray:
    """Return a column of names as codes into a dictionary; numbers will do, null stays null.

    Raises
    ------
    InvalidInputError
        If the column holds something else than text, or text that is not UTF-8.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_null(kind)
    ):
        raise InvalidInputError(f"{path}: column {name!r} is of type {column.type}; expected text")
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    try:
        column.dictionary.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{path}: column {name!r} is not UTF-8 text: {error}") from error
    return column
