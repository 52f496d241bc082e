"""Ctrl-C still reaches Python after CP-SAT has run."""

from __future__ import annotations

import signal
import subprocess
import sys

CODE = """
import os, signal
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm(f"v{i}") for i in range(6)])
demand = make_scenarios(cluster, {f"v{i}": 2 for i in range(6)})
result = solve(cluster, demand, SolveParams(engine="cpsat"))
assert result.plan.steps
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 5)
except KeyboardInterrupt:
    print("interrupted in order")
"""


def test_python_keeps_its_interrupt_handler() -> None:
    """CP-SAT used to leave the default handler behind, and Ctrl-C killed without a last word."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != -signal.SIGINT
    assert done.stdout == "interrupted in order\n", done.stderr
