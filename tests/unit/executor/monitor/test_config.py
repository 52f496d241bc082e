"""Settings are read from TOML, and wrong ones are refused with the place."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from executor.monitor.config import MonitorConfig
from solver.domain.errors import InvalidInputError


def read(folder: Path, text: str) -> MonitorConfig:
    """Return the settings of a file of this text."""
    path = folder / "monitor.toml"
    path.write_text(text, encoding="utf-8")
    return MonitorConfig.from_toml(path)


def test_settings_are_read(tmp_path: Path) -> None:
    """Each key is a setting; what is missing keeps its default."""
    config = read(
        tmp_path,
        'url = "https://f.example/"\ntoken_file = "/t"\noutbox = "/o"\ninterval_s = 20\n',
    )
    assert (config.url, config.interval_s) == ("https://f.example/", 20)
    assert (config.token_file, config.outbox) == (Path("/t"), Path("/o"))
    assert config.libvirt_uri == "qemu:///system"
    assert config.effective_host_id == socket.gethostname()


def test_options_come_before_the_file(tmp_path: Path) -> None:
    """What was not given on the command line stays."""
    config = read(tmp_path, "interval_s = 20\nlibvirt_uri = 'test:///default'\n")
    changed = config.overridden({"interval_s": None, "libvirt_uri": "", "host_id": "h7"})
    assert (changed.interval_s, changed.libvirt_uri) == (20, "")
    assert changed.effective_host_id == "h7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intervall_s = 10", "intervall_s"),
        ("interval_s = 7", "interval_s: expected seconds that divide a minute, got 7"),
        ("interval_s = 0", "interval_s"),
        ("interval_s = true", "interval_s: .*whole number"),
        ('interval_s = "10"', "interval_s: .*whole number"),
        ("url = 7", "url: .*a text"),
        ("outbox_max_mib = 0", "outbox_max_mib"),
        ('url = "https://f.example/"', "token_file: expected a path"),
        ('url = "https://f.example/"\ntoken_file = "t"', "outbox: expected a path"),
        ("url = ", "expected TOML"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message names the key."""
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, text)


def test_settings_survive_being_handed_over() -> None:
    """What the command line read is what the monitor's process gets."""
    config = MonitorConfig(
        url="https://f.example/", token_file=Path("/t"), outbox=Path("/o"), libvirt_uri=""
    )
    assert MonitorConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "[]", '{"url": 7}'])
def test_what_is_handed_over_is_checked(text: str) -> None:
    """Nobody but the command line should start the process, but somebody may."""
    with pytest.raises(InvalidInputError):
        MonitorConfig.from_json(text)
