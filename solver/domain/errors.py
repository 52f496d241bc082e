"""The error tree of foreswap. Every error a caller may meet derives from one root::

    ForeswapError
    ├── InvalidInputError(ValueError)      bad cluster, rule, parameter, file
    ├── ForecastError
    │   ├── NotEnoughHistoryError          too few clean readings to answer
    │   ├── ModelMismatchError             a model file of another kind or version
    │   └── TelemetrySourceError           a source of telemetry did not answer, or not sensibly
    └── ExecutionError                     carries .vm_id and .host_id
        ├── TemporaryError                 carries .delay_s: try again later
        ├── PermanentError                 refused or unsupported: stop and report
        └── StaleClusterError              the world moved: plan again

Messages say what, which object, the value seen and the value expected. An infeasible problem, a
reached time limit and "no beneficial move" are results (``solver.domain.result``), never errors.
"""

from __future__ import annotations

from typing import Any


class ForeswapError(Exception):
    """Root of every error that foreswap raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are unpickled by calling them with their message alone: those that take more
        # would fail at it, and with them whoever waits for word from another process.
        return _made_anew, (type(self), self.args, vars(self))


def _made_anew(
    kind: type[ForeswapError], args: tuple[Any, ...], state: dict[str, Any]
) -> ForeswapError:
    """Return an error as it was, without calling what made it."""
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class InvalidInputError(ForeswapError, ValueError):
    """Input that cannot be accepted; nothing has been changed.

    Parameters
    ----------
    message
        What is wrong, with the value seen and the value expected.
    path
        Where it stands, as a dotted path such as ``vms[3].priority``; empty when the message
        already names the place.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class ForecastError(ForeswapError):
    """The forecast cannot be made."""


class NotEnoughHistoryError(ForecastError):
    """Too few clean readings to train or to forecast."""


class ModelMismatchError(ForecastError):
    """A model file that this version, feature set or cluster cannot use."""


class TelemetrySourceError(ForecastError):
    """A source of telemetry that did not answer, or answered what cannot be used."""


class ExecutionError(ForeswapError):
    """Something went wrong while carrying out a step.

    Parameters
    ----------
    message
        What happened.
    vm_id, host_id
        The objects concerned; ``None`` where there is none.
    """

    def __init__(
        self, message: str, *, vm_id: str | None = None, host_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.vm_id = vm_id
        self.host_id = host_id


class TemporaryError(ExecutionError):
    """A fault that may pass: a busy host, a lost connection.

    Parameters
    ----------
    delay_s
        Seconds to wait before the next try.
    """

    def __init__(
        self,
        message: str,
        *,
        delay_s: float,
        vm_id: str | None = None,
        host_id: str | None = None,
    ) -> None:
        super().__init__(message, vm_id=vm_id, host_id=host_id)
        self.delay_s = delay_s


class PermanentError(ExecutionError):
    """A refusal that trying again will not change."""


class StaleClusterError(ExecutionError):
    """The live cluster is no longer the one the plan was made for."""
