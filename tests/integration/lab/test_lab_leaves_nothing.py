"""However tests on a lab end, nothing of it is left; where there is none, one line says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.lab.leftovers import processes_naming, remove_leftovers
from tests.integration.lab.machines import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
WITH_LAB = (
    *(*PYTEST, "-p", "tests.integration.lab.conftest"),
    *("-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY)),
)

TEST = """
import json
import time
from pathlib import Path

def test_it(lab):
    lab.start_guest("vm1", lab.hosts[0])
    machines = [lab.switch, *(host.machine for host in lab.hosts)]
    told = {{"folder": str(lab.folder), "first_pids": [machine.first_pid for machine in machines]}}
    Path({told!r}).with_suffix(".part").write_text(json.dumps(told))
    Path({told!r}).with_suffix(".part").rename({told!r})
    {end}
"""
FAILS = "assert False"
WAITS = "time.sleep(100)"


class OtherRun:
    """A run of pytest on a lab, in a process of its own."""

    def __init__(self, folder: Path, end: str) -> None:
        told = folder / "told.json"
        test = folder / "test_it.py"
        test.write_text(TEST.format(told=str(told), end=end), encoding="utf-8")
        self.process = subprocess.Popen(
            [*WITH_LAB, str(test)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(lambda: told.exists() or self._has_ended, 60.0, "the other run has a lab")
            said = json.loads(told.read_text(encoding="utf-8"))
        except BaseException:
            self.process.kill()
            print(self.process.communicate()[0])
            raise
        self.lab_folder = Path(said["folder"])
        self.first_pids: list[int] = said["first_pids"]
        self.namespaces = {name for pid in self.first_pids for name in namespaces_of(pid)}

    @property
    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def end(self, number: signal.Signals | None = None) -> str:
        """Send a signal, if any, wait for the end and return the output."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=110)[0]

    def traces(self) -> list[str]:
        """Return what is left of its lab."""
        left = [str(process) for process in processes_naming(self.lab_folder)]
        left += [
            f"{pid} in {name}"
            for pid in psutil.pids()
            for name in namespaces_of(pid) & self.namespaces
        ]
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        left += [mount for mount in mounts if str(self.lab_folder) in mount]
        return left + ([str(self.lab_folder)] if self.lab_folder.exists() else [])


def namespaces_of(pid: int) -> set[str]:
    """Return what names the namespaces of a process, but those of this one."""
    try:
        names = {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("net", "mnt", "pid")}
    except OSError:
        return set()
    own = {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "mnt", "pid")}
    return names - own


def test_a_failed_test_leaves_nothing(tmp_path: Path) -> None:
    """When a failed test's run is over, so is its lab."""
    run = OtherRun(tmp_path, FAILS)
    # It may have ended before its namespaces were looked at.
    output = run.end()
    assert "1 failed" in output
    assert run.process.returncode == 1
    assert run.traces() == []


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    """An interrupt from the terminal ends the run, with its lab."""
    run = OtherRun(tmp_path, WAITS)
    assert run.namespaces
    assert run.traces()
    assert "KeyboardInterrupt" in run.end(signal.SIGINT)
    assert run.traces() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """The lab of a run that was killed ends and removes itself."""
    run = OtherRun(tmp_path, WAITS)
    run.end(number)
    assert run.process.returncode == -number
    wait_until(lambda: not run.traces(), 20.0, f"nothing left of {run.lab_folder}")


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """A folder whose lab could not remove it goes when the next lab starts, no other does."""
    run = OtherRun(tmp_path, WAITS)
    remove_leftovers()
    assert run.lab_folder.exists()
    for pid in run.first_pids:
        os.kill(pid, signal.SIGKILL)
    run.end(signal.SIGKILL)
    assert run.lab_folder.exists()
    remove_leftovers()
    assert run.traces() == []


def run_without_capabilities(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test of the lab as a root that may do nothing."""
    one_test = f"{Path(__file__).with_name('test_lab.py')}::test_labs_do_not_meet"
    return subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *PYTEST, one_test],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_where_there_is_no_lab_one_line_says_so() -> None:
    """Without the rights to it the tests are skipped, with the reason."""
    answer = run_without_capabilities(CI="")
    told = [line for line in answer.stdout.splitlines() if "no lab of real hosts here" in line]
    assert len(told) == 1
    assert "namespaces are not allowed here" in told[0]
    assert "1 skipped" in answer.stdout


def test_continuous_integration_must_have_a_lab() -> None:
    """With CI=true a machine without a lab fails its tests."""
    answer = run_without_capabilities(CI="true")
    assert answer.returncode == 1
    assert "CI must test on real hosts" in answer.stdout
