"""Text files, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from solver.domain.errors import InvalidInputError


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it, so that no reader meets half of one.

    Raises
    ------
    InvalidInputError
        If it cannot be written; what stood there before still does.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _refused(path, error) from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"file {str(path)!r}: expected a place to write to, got: {error.strerror}"
    )
