"""What is to be installed on hypervisors can be read by those who are to read it."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import tomllib
from pathlib import Path

import pytest

from executor.monitor.config import MonitorConfig
from tests.machine import assert_systemd_accepts, without

UNIT = "foreswap-monitor.service"
USER = "foreswap-monitor"


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    """Folder of the monitor's files."""
    return repository / "deploy" / "monitor"


def settings(unit: str) -> dict[str, str]:
    """Return a unit's settings; of those that come twice the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit, flags=re.MULTILINE))


def test_the_unit_is_hardened(folder: Path) -> None:
    """Neither root nor in libvirt's group, as good as root, and it writes to its state only."""
    unit = (folder / UNIT).read_text(encoding="utf-8")
    found = settings(unit)
    assert found["User"] == USER
    assert "SupplementaryGroups" not in found
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ""
    for name in ("NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateDevices", "ProtectHome"):
        assert found[name] == "yes"
    assert found["ProtectSystem"] == "strict"
    assert found["Type"] == "notify"
    assert int(found["WatchdogSec"]) >= 60


def test_systemd_accepts_the_unit(folder: Path, tmp_path: Path) -> None:
    """No setting is misspelt, and its exposure is low by systemd's own judgement."""
    unit = (folder / UNIT).read_text(encoding="utf-8")
    assert_systemd_accepts(unit, tmp_path / UNIT)


def test_user_and_settings_fit_the_unit(folder: Path) -> None:
    """The user is the one made, the sample's keys are settings, and their folder may be written."""
    users = (folder / "foreswap-monitor.sysusers").read_text(encoding="utf-8")
    assert re.search(rf"^u {USER} - ", users, flags=re.MULTILINE)
    text = (folder / "monitor.toml").read_text(encoding="utf-8")
    state = "/var/lib/" + settings((folder / UNIT).read_text(encoding="utf-8"))["StateDirectory"]
    enabled = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    assert set(enabled) <= set(MonitorConfig.__dataclass_fields__)
    assert str(Path(enabled["outbox"]).parent) == state
    assert str(Path(enabled["metrics_file"]).parent) == state


class Engine:
    """Duktape, the JavaScript engine that polkit evaluates its rules with."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("duktape")
        if name is None:
            without("polkit's rules cannot be evaluated: libduktape is not installed")
        library = ctypes.CDLL(name)
        library.duk_create_heap.restype = ctypes.c_void_p
        library.duk_safe_to_lstring.restype = ctypes.c_char_p
        self._library = library
        self._heap = ctypes.c_void_p(library.duk_create_heap(None, None, None, None, None))

    def evaluate(self, source: str) -> str:
        """Return the value of a script as text; that of its error if it throws."""
        text = source.encode("utf-8")
        # DUK_COMPILE_SAFE | DUK_COMPILE_EVAL | DUK_COMPILE_NOSOURCE | DUK_COMPILE_NOFILENAME
        flags = (1 << 7) | (1 << 3) | (1 << 9) | (1 << 11)
        self._library.duk_eval_raw(
            self._heap, text, ctypes.c_size_t(len(text)), ctypes.c_uint(flags)
        )
        value: bytes = self._library.duk_safe_to_lstring(self._heap, -1, None)
        return value.decode("utf-8")


POLKIT = """
var rule = null;
var polkit = {addRule: function (f) { rule = f; },
              Result: {YES: "yes", NO: "no", NOT_HANDLED: "not handled"}};
"""


@pytest.mark.parametrize(
    ("user", "action", "answer"),
    [
        (USER, "org.libvirt.unix.monitor", "yes"),
        (USER, "org.libvirt.unix.manage", "no"),
        (USER, "org.libvirt.api.domain.start", "no"),
        (USER, "org.freedesktop.login1.reboot", "not handled"),
        ("someone", "org.libvirt.unix.monitor", "not handled"),
        ("someone", "org.libvirt.unix.manage", "not handled"),
    ],
)
def test_the_polkit_rule_lets_look_only(folder: Path, user: str, action: str, answer: str) -> None:
    """As polkit's own engine evaluates it: monitoring for that user, nothing more, nobody else."""
    rule = (folder / "60-foreswap-monitor.rules").read_text(encoding="utf-8")
    call = f'String(rule({{id: "{action}"}}, {{user: "{user}"}}))'
    assert Engine().evaluate(POLKIT + rule + call) == answer
