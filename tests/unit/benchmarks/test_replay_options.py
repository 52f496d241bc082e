"""The options that benchmarks of the closed loop share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.replay_options import replay_config, replay_parser
from service.replay.config import ReplayConfig
from solver.domain.errors import InvalidInputError

WINDOW = {"from_": "2013-09-02", "until": "2013-09-04"}


def config(*words: str) -> ReplayConfig:
    """Return what a command line asks for."""
    parser = replay_parser("What it measures.\n\nAnd how.", **WINDOW)
    return replay_config(parser.parse_args(["--trace", "t.parquet", *words]), ("oracle",))


def test_without_options_it_is_the_whole_fleet_on_the_given_days() -> None:
    """Twenty-four hosts, a plan every quarter of an hour, as many futures as can be afforded."""
    asked = config()
    assert (asked.num_hosts, asked.host_cores, asked.host_memory_gib) == (24, 32, 576)
    assert asked.from_at == datetime(2013, 9, 2, tzinfo=UTC)
    assert asked.until_at == datetime(2013, 9, 4, tzinfo=UTC)
    assert (asked.interval_minutes, asked.num_vms, asked.num_scenarios) == (15, None, None)
    assert asked.policies == ("oracle",)


def test_every_option_reaches_the_replay() -> None:
    """A drawn cluster, other days, another pace."""
    words = ["--from", "2013-09-05", "--until", "2013-09-06", "--seed", "3", "--hosts", "4"]
    asked = config(*words, "--vms", "120", "--scenarios", "64", "--interval", "5")
    assert asked.from_at == datetime(2013, 9, 5, tzinfo=UTC)
    assert (asked.seed, asked.num_hosts, asked.num_vms) == (3, 4, 120)
    assert (asked.num_scenarios, asked.interval_minutes) == (64, 5)


def test_a_wrong_instant_is_refused_by_its_option() -> None:
    """The message names the option."""
    with pytest.raises(InvalidInputError, match="--from"):
        config("--from", "yesterday")
