"""The repository stands on its own: nothing in it belongs to one machine."""

from __future__ import annotations

import re
from pathlib import Path

# Roots found on any Linux system; a path below another one names somebody's own machine.
COMMON_ROOTS = frozenset(
    {"bin", "boot", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc"}
    | {"root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
)


def machine_paths(repository: Path) -> re.Pattern[str]:
    """Return a pattern of this checkout's own place and of home folders."""
    alternatives = [re.escape(str(repository)), r"/(?:home|Users)/\w", r"/root/"]
    first = repository.parts[1]
    if first not in COMMON_ROOTS:
        alternatives.append(rf"/{re.escape(first)}/")
    return re.compile(rf"(?<![\w.\\])(?:{'|'.join(alternatives)})")


def test_no_tracked_file_names_a_path_of_one_machine(
    repository: Path, tracked_files: list[Path]
) -> None:
    """A clone works anywhere: neither a checkout nor a home folder is named."""
    pattern = machine_paths(repository)
    this_file = Path(__file__).resolve()
    found = []
    for path in tracked_files:
        if path == this_file:
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [
            f"{path.relative_to(repository)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if pattern.search(line)
        ]
    assert not found, "\n".join(found)


def test_traces_and_archives_are_not_committed(tracked_files: list[Path]) -> None:
    """Data is read in place: its licences do not allow passing it on with the code."""
    data = [
        path.name
        for path in tracked_files
        if path.suffix in {".parquet", ".xz", ".gz", ".zip", ".pkl", ".joblib"}
    ]
    assert not data
