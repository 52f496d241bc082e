"""The demonstration's model is kept, found again, and never read from what others may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast.quantile import TrainingSettings
from service.demo import model
from service.demo.config import DemoConfig
from service.demo.fleet import Stage, set_stage
from service.demo.model import cache_folder, make_forecaster

CONFIG = DemoConfig(num_hosts=3, num_vms=20, seed=1)


@pytest.fixture(scope="module")
def stage() -> Stage:
    """The smallest stage worth training on."""
    return set_stage(CONFIG)


@pytest.fixture
def told(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told while a model is made and kept for the first time."""
    settings = TrainingSettings(rows_per_resource=3_000, iterations=2, num_jobs=1)
    monkeypatch.setattr(model, "TRAINING", settings)
    monkeypatch.setattr(model, "WARM_UP_DAYS", 0.1)
    words: list[str] = []
    make_forecaster(
        CONFIG, stage.history, stage.first_bin, folder=tmp_path / "cache", tell=words.append
    )
    return words


def again(stage: Stage, folder: Path) -> str:
    """Return what is told first when a model is asked for again."""
    words: list[str] = []
    make_forecaster(CONFIG, stage.history, stage.first_bin, folder=folder, tell=words.append)
    return words[0]


def test_a_kept_model_is_used(stage: Stage, told: list[str], tmp_path: Path) -> None:
    """Training happens once; the folder is the user's own."""
    assert told[0].startswith("training")
    assert again(stage, tmp_path / "cache").startswith("warming up")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("told")
def test_a_model_that_others_may_write_is_not_read(stage: Stage, tmp_path: Path) -> None:
    """Reading a model runs code from it: one that is open to others is made anew."""
    (kept,) = (tmp_path / "cache").iterdir()
    kept.chmod(0o666)
    assert again(stage, tmp_path / "cache").startswith("training")


@pytest.mark.usefixtures("told")
def test_a_damaged_model_is_made_anew(stage: Stage, tmp_path: Path) -> None:
    """A file cut short is not in the way."""
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert again(stage, tmp_path / "cache").startswith("training")


@pytest.mark.usefixtures("told")
def test_a_place_that_cannot_be_written_is_no_obstacle(stage: Stage, tmp_path: Path) -> None:
    """Where no folder can be made the model is trained and not kept."""
    (tmp_path / "file").write_text("")
    assert again(stage, tmp_path / "file" / "cache").startswith("training")


def test_the_cache_follows_the_users_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """``XDG_CACHE_HOME`` decides, unless it is relative."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/foreswap")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "foreswap"
