"""The monitor's process: ``python -m executor.monitor SETTINGS``, which `foreswap monitor` becomes.

The command line's own libraries would be a third of what the process may hold, so it hands over its
settings and is replaced. Exit codes are those of ``foreswap``.
"""

from __future__ import annotations

import logging
import sys

from executor.monitor.config import MonitorConfig
from executor.monitor.daemon import StopSignals, run
from executor.monitor.memory import give_back
from executor.monitor.setup import set_up, vm_source
from executor.monitor.supervisor import Supervisor
from executor.monitor.timekeeper import SystemTimekeeper
from solver.domain.errors import ForeswapError, InvalidInputError


def main(arguments: list[str]) -> int:
    """Run the monitor until a signal ends it and return the exit code.

    Parameters
    ----------
    arguments
        One: the settings as ``MonitorConfig.to_json`` writes them.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signals = StopSignals()
    signals.install()
    time = SystemTimekeeper()
    try:
        if len(arguments) != 1:
            raise InvalidInputError("expected settings as JSON; start it by: foreswap monitor")
        settings = MonitorConfig.from_json(arguments[0])
        # Before the rest, which then uses what loading libvirt leaves free.
        vms = vm_source(settings.libvirt_uri)
        monitor = set_up(settings, vms, time)
        give_back()
        run(monitor, time, Supervisor(), signals)
    except ForeswapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
