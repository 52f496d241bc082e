"""What is read from ticks: gaps by the lab's clock, and copies that counted at once."""

from __future__ import annotations

from pathlib import Path

from tests.integration.lab.ticks import Tick, largest_gap_s, miscounted, parse_ticks, read_lines


def ticks_of(*lines: str) -> tuple[Tick, ...]:
    """Return the ticks of a log that was seen line by line, a second apart."""
    return parse_ticks([(float(second), line) for second, line in enumerate(lines)])


def test_ticks_are_counted_anew_after_a_boot() -> None:
    """A guest that was started again is no second copy of itself."""
    ticks = ticks_of("boot", "tick 1 900", "tick 2 1000", "boot", "tick 1 950")
    assert [(tick.boot, tick.number) for tick in ticks] == [(1, 1), (1, 2), (2, 1)]
    assert miscounted(ticks) == []


def test_two_copies_show_in_the_numbers() -> None:
    """Both write to one log, so that numbers come twice, at the same time of the guest's clock."""
    ticks = ticks_of("boot", "tick 1 900", "tick 2 1000", "tick 2 1003", "tick 3 1100")
    assert miscounted(ticks) == ["tick 2 at 1003 ms after 2 at 1000 ms"]


def test_copy_that_goes_on_later_shows_in_the_numbers() -> None:
    """Its numbers go back, whatever its clock says."""
    ticks = ticks_of("boot", "tick 1 900", "tick 2 1000", "tick 3 1100", "tick 2 1200")
    assert miscounted(ticks) == ["tick 2 at 1200 ms after 3 at 1100 ms"]


def test_lost_ticks_show_in_the_numbers() -> None:
    """A guest that went on from an older state, or whose log was cut."""
    ticks = ticks_of("boot", "tick 1 900", "tick 3 1100")
    assert miscounted(ticks) == ["tick 3 at 1100 ms after 1 at 900 ms"]


def test_write_lost_by_the_emulator_is_no_second_copy() -> None:
    """Two runs in a thousand moves stopped at "tick 52 after 52" of a guest that had one copy."""
    ticks = ticks_of("boot", "tick 1 900", "tick 2 1000", "tick 2 1101", "tick 3 1201")
    assert miscounted(ticks) == []


def test_half_a_line_is_no_tick() -> None:
    """A guest that was killed in the middle of a line leaves what belongs to no tick."""
    ticks = ticks_of("boot", "tick 1 900", "tick 2\x1bc\x1b[?7lSeaBIOS", "boot", "tick 1 950")
    assert [tick.number for tick in ticks] == [1, 1]


def test_line_still_being_written_waits(tmp_path: Path) -> None:
    """The observer's last line counts once it is whole."""
    seen = tmp_path / "vm1.seen"
    assert read_lines(seen) == []
    seen.write_text("1.500 boot\n1.600 tick 1 9", encoding="utf-8")
    assert read_lines(seen) == [(1.5, "boot")]


def test_gap_reaches_to_both_ends_of_the_window() -> None:
    """Silence before the first and after the last tick counts too."""
    ticks = ticks_of("boot", "tick 1 9", "tick 2 19", "tick 3 29")
    assert largest_gap_s(ticks, 1.0, 3.0) == 1.0
    assert largest_gap_s(ticks, -4.0, 3.0) == 5.0
    assert largest_gap_s(ticks, 1.0, 7.5) == 4.5
    assert largest_gap_s((), 0.0, 2.0) == 2.0
