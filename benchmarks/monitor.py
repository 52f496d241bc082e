"""Memory and processor time of the monitor on a host with many paused guests.

Protocol: starts paused guests of software emulation on a libvirt host, then `foreswap monitor` as
its own process, every option as delivered (10 s samples, records of a minute to a service on this
machine, metrics file), leaves out a warm-up, and reads the process's own files in /proc. The guests
are named mon-bench-N and ended afterwards.

    python -m benchmarks.monitor --uri 'qemu:///system' [--guests 100] [--seconds 180] [--json OUT]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from service.replay.report import machine

WARM_UP_S: Final = 25
LIMIT_RSS_MIB: Final = 60.0
LIMIT_CPU_PERCENT: Final = 1.0

GUEST: Final = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom'><model>qemu64</model></cpu>
<devices><memballoon model='virtio'/></devices></domain>"""


class Service(BaseHTTPRequestHandler):
    """Accepts whatever comes."""

    num_vms: list[int]

    def do_POST(self) -> None:
        """Answer as the contract says."""
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        records = json.loads(body)["records"]
        self.num_vms.extend(len(record["minute"]["vms"]) for record in records)
        content = json.dumps({"accepted_through": records[-1]["seq"]}).encode("ascii")
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Stay silent."""


@contextmanager
def service() -> Iterator[tuple[str, list[int]]]:
    """Yield an address that accepts records, and how many VMs each had."""
    num_vms: list[int] = []
    handler = type("Handler", (Service,), {"num_vms": num_vms})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", num_vms
        server.shutdown()


@contextmanager
def guests(uri: str, number: int) -> Iterator[None]:
    """Start so many paused guests, and end them when the block is left."""
    names = [f"mon-bench-{each}" for each in range(number)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{name}.xml" for name in names]
            for name, path in zip(names, paths, strict=True):
                path.write_text(GUEST.format(name=name), encoding="utf-8")
            virsh(uri, [f"create {path} --paused" for path in paths])
        yield
    finally:
        virsh(uri, [f"destroy {name}" for name in names], check=False)


def virsh(uri: str, commands: list[str], *, check: bool = True) -> None:
    """Run commands of libvirt's shell."""
    script = "; ".join(commands)
    subprocess.run(["virsh", "-q", "-c", uri, script], check=check, capture_output=True)


def memory_mib(pid: int) -> dict[str, float]:
    """Return what a process holds now and at most held, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "rss_mib": int(fields["VmRSS"].split()[0]) / 1024,
        "peak_rss_mib": int(fields["VmHWM"].split()[0]) / 1024,
    }


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def measured(uri: str, seconds: float) -> dict[str, Any]:
    """Run the monitor for so long after its warm-up and return what it took."""
    with tempfile.TemporaryDirectory() as name, service() as (url, num_vms):
        folder = Path(name)
        token = folder / "token"
        token.write_text("benchmark", encoding="ascii")
        token.chmod(0o600)
        command = [sys.executable, "-c", "from service.cli import main; main()", "monitor"]
        command += ["--url", url, "--token-file", str(token), "--outbox", str(folder / "outbox")]
        command += ["--libvirt-uri", uri, "--metrics-file", str(folder / "foreswap.prom")]
        begun_s = time.perf_counter()
        process = subprocess.Popen(command)
        try:
            time.sleep(WARM_UP_S)
            start_cpu_s = cpu_s(process.pid)
            start_s = time.perf_counter()
            time.sleep(seconds)
            used_s = cpu_s(process.pid) - start_cpu_s
            elapsed_s = time.perf_counter() - start_s
            memory = memory_mib(process.pid)
        finally:
            process.terminate()
            process.wait(30)
        return {
            **memory,
            "cpu_percent": used_s / elapsed_s * 100,
            "start_cpu_s": start_cpu_s,
            "seconds": elapsed_s,
            "records": len(num_vms),
            "vms_per_record": max(num_vms, default=0),
            "ran_s": time.perf_counter() - begun_s,
            "exit_code": process.returncode,
        }


def main() -> None:
    """Measure, print, and say whether the limits are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--uri", default="qemu:///system")
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with guests(arguments.uri, arguments.guests):
        found = measured(arguments.uri, arguments.seconds)
    print(
        f"{arguments.guests} paused guests, {found['vms_per_record']} in a record, "
        f"{found['records']} records in {found['seconds']:.0f} s: "
        f"RSS {found['rss_mib']:.1f} MiB (peak {found['peak_rss_mib']:.1f}, limit "
        f"{LIMIT_RSS_MIB:g}), processor {found['cpu_percent']:.2f} % of a core (limit "
        f"{LIMIT_CPU_PERCENT:g}), start {found['start_cpu_s']:.2f} s"
    )
    if arguments.json is not None:
        document = {**found, "num_guests": arguments.guests, "machine": machine()}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    kept = found["peak_rss_mib"] < LIMIT_RSS_MIB and found["cpu_percent"] < LIMIT_CPU_PERCENT
    sys.exit(0 if kept and found["vms_per_record"] >= arguments.guests else 1)


if __name__ == "__main__":
    main()
