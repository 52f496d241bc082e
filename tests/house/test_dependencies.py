"""Every dependency has a stated reason and one pinned, hashed version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

LOCKS = ("requirements.lock", "requirements-service.lock", "requirements-libvirt.lock")


def canonical(name: str) -> str:
    """Return a distribution's name as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(requirements: list[str]) -> set[str]:
    """Return the names in requirement strings such as ``numpy>=2``."""
    return {canonical(re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]) for text in requirements}


@pytest.fixture(scope="module")
def declared(repository: Path) -> set[str]:
    """Names of all direct dependencies: of the program, of its extras, of its build."""
    document = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        document["build-system"]["requires"],
    ]
    return requirement_names([text for group in groups for text in group])


@pytest.fixture(scope="module")
def lock(repository: Path) -> str:
    """Text of the lock files: of wheels, and of the binding that every machine compiles."""
    files = (repository / name for name in LOCKS)
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_dependency_is_justified(repository: Path, declared: set[str]) -> None:
    """``docs/dependencies.md`` has one row per direct dependency and none for strangers."""
    text = (repository / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = {canonical(name) for name in re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)}
    assert rows == declared


def test_every_dependency_is_pinned(declared: set[str], lock: str) -> None:
    """What is declared stands in the lock; otherwise ``make lock`` was forgotten."""
    pinned = {canonical(n) for n in re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)}
    assert declared <= pinned, f"not in the locks: {sorted(declared - pinned)}"


def test_the_lock_names_versions_and_hashes_only(lock: str) -> None:
    """The lock installs the same files from any index, and names none."""
    entries = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    bare = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert not bare, f"pinned without a hash: {bare}"
    options = re.findall(r"^\s*(?:-\w|--(?!hash=)[\w-]+).*$", lock, flags=re.MULTILINE)
    assert not options
    assert "://" not in lock


def test_the_service_runs_what_is_tested(repository: Path) -> None:
    """What an image of the service installs is a part of what everybody else does, file by file."""
    whole, part = (
        set(re.split(r"^(?=[\w.-]+==)", _bare(repository / name), flags=re.MULTILINE)[1:])
        for name in LOCKS[:2]
    )
    assert part < whole
    names = {entry.split("==")[0] for entry in part}
    assert {"flask", "psycopg", "setuptools"} <= names
    assert not {"pytest", "mypy", "ruff", "playwright"} & names


def _bare(lock: Path) -> str:
    """Return the text of a lock without comments, which say who needs what."""
    return re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
