"""``foreswap import --prometheus``: what it writes, what it says, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forecast.tidy import read_history
from service.cli import run
from solver.domain.units import Resource
from tests.exporters import FakeVm, Stay, scrape
from tests.fake_prometheus import Canned, FakePrometheus

START_S = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
PERIOD = ("--from", "2026-03-01T12:00", "--until", "2026-03-01T13:00")


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    """A Prometheus that knows an hour of two VMs, one of which moved."""
    with FakePrometheus() as server:
        move = START_S + 1000
        stays = [Stay(host="h1", start=0, end=move), Stay(host="h2", start=move, end=1e11)]
        vms = [
            FakeVm(uuid="u1", name="web", stays=stays, used=lambda at: at - START_S + 1e6),
            FakeVm(
                uuid="u2",
                name="db",
                stays=[Stay(host="h1", start=0, end=1e11)],
                used=lambda at: 0.5 * at,
            ),
        ]
        scrape(server, vms, start=START_S - 300, end=START_S + 4000)
        yield server


def test_an_hour_becomes_a_tidy_file(
    fake: FakePrometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is as every other import's; remarks go to standard error."""
    target = tmp_path / "telemetry.parquet"
    assert run(["import", "--prometheus", fake.url, *PERIOD, str(target)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{target}: 2 VMs from 24 readings")
    assert "VMs moved 1 times" in said.err
    history = read_history(target)
    assert set(history.vm_ids) == {"web", "db"}
    assert history.num_bins == 12
    row = history.positions(["db"])[0]
    assert history.readings[Resource.CPU, row] == pytest.approx([500.0] * 12, rel=1e-5)


def test_settings_from_a_file(fake: FakePrometheus, tmp_path: Path) -> None:
    """A file can say everything, the address included."""
    config = tmp_path / "prometheus.toml"
    config.write_text(
        f'[access]\nurl = "{fake.url}"\n[labels]\nvm = "domain"\n[select]\nvm = \'domain="db"\'\n'
    )
    target = tmp_path / "telemetry.parquet"
    assert run(["import", "--config", str(config), *PERIOD, str(target)]) == 0
    assert read_history(target).vm_ids == ("db",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prometheus", "URL", "OUT"], "--prometheus: expected --from and --until with it"),
        (["--prometheus", "URL", *PERIOD, "IN", "OUT"], "expected OUT.parquet alone"),
        (["--prometheus", "URL", *PERIOD, "--layout", "long", "OUT"], "--layout: expected none"),
        (["--prometheus", "nowhere", *PERIOD, "OUT"], "url: expected the address of a Prometheus"),
        (["--prometheus", "URL", "--from", "noon", "--until", "1", "OUT"], "--from: expected a da"),
        (["--prometheus", "URL", "--config", "none.toml", *PERIOD, "OUT"], "none.toml: expected a"),
        (["--from", "2026-03-01", "IN", "OUT"], "--from: expected --prometheus with it"),
        (["OUT"], "expected SOURCE and OUT.parquet, got one of them"),
    ],
)
def test_options_that_do_not_go_together(
    fake: FakePrometheus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    """Exit code 2, one line, and no file."""
    places = {"URL": fake.url, "OUT": str(tmp_path / "o.parquet"), "IN": str(tmp_path)}
    assert run(["import", *(places.get(word, word) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_file(
    fake: FakePrometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When Prometheus gives out half-way, exit code 1 and nothing is written."""
    answer = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
    fake.canned = [Canned(body=answer)] * 3 + [Canned(status=500, body=b"out of memory")]
    assert run(["import", "--prometheus", fake.url, *PERIOD, str(tmp_path / "o.parquet")]) == 1
    assert "HTTP 500: 'out of memory'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
