"""Every module says what it is for, and imports only what its room may."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("solver", "forecast", "executor", "service", "benchmarks")


def test_every_public_module_opens_with_a_docstring(repository: Path) -> None:
    """A reader learns the room's responsibility from its first lines."""
    silent = [
        str(path.relative_to(repository))
        for package in PACKAGES
        for path in sorted((repository / package).rglob("*.py"))
        if (path.name == "__init__.py" or not path.name.startswith("_"))
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"modules without a docstring: {silent}"


@pytest.mark.parametrize("package", ["solver", "forecast", "executor", "service"])
def test_packages_are_typed(repository: Path, package: str) -> None:
    """Users of the packages get their types."""
    assert (repository / package / "py.typed").is_file()


def test_imports_keep_to_the_contracts(repository: Path) -> None:
    """Arrows between rooms point one way, as ``make imports`` checks."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run(
        [lint_imports, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_server_loads_nothing_that_it_does_not_use() -> None:
    """It starts without libvirt's binding, and without what trains models and solves programs."""
    unused = [
        "libvirt",
        "lightgbm",
        "numba",
        "ortools",
        "pandas",
        "pulp",
        "pyarrow",
        "scipy",
        "sklearn",
        "statsforecast",
    ]
    asked = f"import sys, service.server; print([m for m in {unused} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
