"""Settings of the service: file, environment, defaults, and what wrong ones are told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from service.cli import run
from service.settings import default_folder, load_settings, masked, settings_file
from solver.domain.errors import InvalidInputError


def written(tmp_path: Path, text: str) -> Path:
    """Return a settings file with a text."""
    file = tmp_path / "foreswap.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(file: Path, environment: dict[str, str] | None = None) -> str:
    """Return what wrong settings are told."""
    with pytest.raises(InvalidInputError) as caught:
        load_settings(file, environment or {})
    return str(caught.value)


def test_defaults_need_no_file(tmp_path: Path) -> None:
    """Without any file the service listens on the loopback and keeps a SQLite file."""
    settings = load_settings(None, {"FORESWAP_STORE__FOLDER": str(tmp_path)})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8470)
    assert settings.store.effective_url == f"sqlite:///{tmp_path}/foreswap.db"


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    """A variable replaces one setting of the file and leaves its neighbours."""
    file = written(tmp_path, "[server]\nport = 1\nthreads = 8\n")
    settings = load_settings(file, {"FORESWAP_SERVER__PORT": "2", "FORESWAP_SHARED": "x"})
    assert (settings.server.port, settings.server.threads) == (2, 8)
    settings = load_settings(file, {"FORESWAP_RUNTIME__ENABLED": "False"})
    assert not settings.runtime.enabled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nprot = 1", "server.prot: expected no such field (did you mean 'port'?), got 1"),
        ("[server]\nport = '1'", 'server.port: expected a whole number, got "1"'),
        ("[server]\nport = 70000", "server.port: expected at most 65535, got 70000"),
        ("[sever]\nport = 1", "sever: expected no such field (did you mean 'server'?)"),
        ("server = 1", "server: expected an object, got 1"),
        ("[server]\ntls_key = 'k'", "server.tls_certificate: expected a file"),
        ("[server]\nhost = '0.0.0.0'", "server.host: expected tls_certificate and tls_key"),
        ("[log]\nlevel = 'loud'", "log.level: expected 'debug', 'info'"),
        ("[server\n", "expected TOML, got: Expected ']' at the end of a table declaration (at"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    """The refusal names the setting, what was seen and expected, and the file."""
    file = written(tmp_path, text)
    message = refusal(file)
    assert expected in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FORESWAP_SERVER__PORT", "x", 'got "x" (in environment variable FORESWAP_SERVER__PORT)'),
        ("FORESWAP_SERVER__PROT", "1", "did you mean FORESWAP_SERVER__PORT?"),
        ("FORESWAP_LEASES__TTL", "1", "expected the name of a setting"),
        ("FORESWAP_RUNTIME__ENABLED", "yes", "expected true or false"),
    ],
)
def test_wrong_variables_are_refused(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    """The refusal names the variable."""
    message = refusal(written(tmp_path, ""), {variable: value})
    assert expected in message
    assert variable in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that was asked for has to be there."""
    assert "No such file" in refusal(tmp_path / "none.toml")


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    """The option comes before the environment's name."""
    named = {"FORESWAP_CONFIG": "/named.toml"}
    assert settings_file(tmp_path, named) == tmp_path
    assert settings_file(None, named) == Path("/named.toml")


def test_where_things_are_kept() -> None:
    """The desktop's convention comes first, then root's folder, then the user's."""
    xdg = {"XDG_STATE_HOME": "/state"}
    assert default_folder(xdg, is_root=True) == Path("/state/foreswap")
    assert default_folder({}, is_root=True) == Path("/var/lib/foreswap")
    assert default_folder({}, is_root=False) == Path.home() / ".local/state/foreswap"


def test_passwords_are_masked(tmp_path: Path) -> None:
    """Neither form of a database's password is shown."""
    for url in ("postgresql+psycopg://u:s3c:r@t@h/x", "postgresql+psycopg://h/x?password=s3c&a=1"):
        shown = masked(load_settings(written(tmp_path, f"[store]\nurl = '{url}'"), {}))
        assert "s3c" not in shown["store"]["url"]
        assert "h/x" in shown["store"]["url"]


def test_config_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown is settings again; wrong ones end with exit code 2."""
    file = written(tmp_path, "[server]\nport = 1\ntls_key = 'k'\ntls_certificate = 'c'\n")
    assert run(["config", "check", "--config", str(file)]) == 0
    assert "settings are right" in capsys.readouterr().out
    assert run(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert tomllib.loads(shown)["server"]["port"] == 1
    before = load_settings(file, {})
    assert load_settings(written(tmp_path, shown), {}) == before
    assert run(["config", "check", "--config", str(tmp_path / "none")]) == 2
