"""List the benchmarks, or run one of them: ``python -m benchmarks [NAME [ARGUMENTS…]]``.

A benchmark is a module below this folder that can be run by itself; its docstring's first line is
its entry in the list. Nothing is measured here.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def available() -> dict[str, str]:
    """Return the first docstring line of every runnable module, by dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name.startswith("_") or "__main__" not in text:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        docstring = ast.get_docstring(ast.parse(text, filename=str(path))) or ""
        found[name] = docstring.partition("\n")[0]
    return found


def main(arguments: list[str]) -> int:
    """Run the named benchmark with the other arguments, or list them all.

    Returns
    -------
    int
        Exit code: 0, or 2 when there is no such benchmark.
    """
    benchmarks = available()
    if not arguments:
        print('Run one by: make bench BENCH=NAME ARGS="…" (ARGS=--help tells its options)')
        for name, summary in benchmarks.items():
            print(f"  {name:<24} {summary}")
        return 0
    name, *rest = arguments
    if name not in benchmarks:
        print(f"no benchmark {name!r}; known: {', '.join(benchmarks) or 'none'}", file=sys.stderr)
        return 2
    sys.argv = [f"benchmarks.{name}", *rest]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
