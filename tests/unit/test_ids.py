"""Names of scans and runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mastomend.ids import chosen, moment_of, new_id

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def test_they_sort_by_time_within_a_second_too() -> None:
    names = [new_id(NOW + timedelta(milliseconds=4 * n)) for n in range(500)]
    assert names == sorted(names) and chosen("latest", names, "run", "") == names[-1]
    assert moment_of(names[0]) == NOW


def test_no_two_are_alike_whatever_the_clock_says() -> None:
    names = [new_id(NOW) for _ in range(2_000)]
    assert len(set(names)) == 2_000 and {moment_of(one) for one in names} == {NOW}
