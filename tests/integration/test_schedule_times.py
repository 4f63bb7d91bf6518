"""What Prefect's server makes of the times of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

from roost.deployments.schedule_times import parse_times


async def dates(times: dict[str, Any], start: datetime, n: int) -> list[datetime]:
    """The next times of a schedule by Prefect's server."""
    schedule = CronSchedule(**times) if "cron" in times else IntervalSchedule(**times)
    return await schedule.get_dates(n, start=start)


async def test_hours_begin_on_the_hour_and_weeks_on_mondays_at_any_time_of_the_year() -> None:
    for month in (1, 7):
        [hour] = await dates(parse_times("1h", None, None).as_prefect(), datetime(2026, month, 1, 5, 3, tzinfo=UTC), 1)
        [week] = await dates(parse_times("1w", None, None).as_prefect(), datetime(2026, month, 1, tzinfo=UTC), 1)
        assert (hour.hour, hour.minute) == (6, 0)
        assert (week.weekday(), week.hour) == (0, 0)


async def test_a_cron_expression_is_meant_in_its_time_zone() -> None:
    times = parse_times(None, " 0  2 * * MON ", "Asia/Tokyo").as_prefect()
    [found] = await dates(times, datetime(2026, 11, 21, tzinfo=UTC), 1)
    assert found.astimezone(UTC).isoformat()[:16] == "2026-11-22T17:00"
