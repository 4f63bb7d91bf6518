"""When a schedule runs: what a person may write."""

from __future__ import annotations

import pytest

from roost.deployments.schedule_times import describe_times, parse_times
from roost.tasks.errors import UsageError


@pytest.mark.parametrize(
    ("every", "seconds", "words"),
    [
        ("30min", 1800, "every 30 min"),
        ("1h", 3600, "every 1 h"),
        ("90 m", 5400, "every 90 min"),
        ("24h", 86_400, "every 1 d"),
        ("1 day", 86_400, "every 1 d"),
        ("2w", 1_209_600, "every 14 d"),
    ],
)
def test_an_interval_is_a_number_and_a_unit(every: str, seconds: int, words: str) -> None:
    times = parse_times(every, None, None).as_prefect()
    assert times == {"interval": seconds, "anchor_date": "2024-01-01T00:00:00Z", "timezone": "UTC"}
    assert describe_times(times) == words


@pytest.mark.parametrize(
    ("every", "cron", "timezone", "says"),
    [
        ("1", None, None, "--every '1': write a number and a unit (min, h, d, w)"),
        ("90s", None, None, "write a number and a unit"),
        ("-1h", None, None, "write a number and a unit"),
        ("0min", None, None, "the interval is from 1min to 90d"),
        ("91d", None, None, "the interval is from 1min to 90d"),
        (None, "0 2 * *", "UTC", "--cron '0 2 * *' is no cron expression: write five fields"),
        (None, "0 0 2 * * *", "UTC", "is no cron expression"),
        (None, "61 * * * *", "UTC", "is no cron expression"),
        (None, "H 2 * * *", "UTC", "is no cron expression"),
        (None, "", "UTC", "is no cron expression"),
        (None, "0 2 30 2 *", "UTC", "--cron '0 2 30 2 *' names no date that ever comes"),
        ("1h", None, "Europe/Berln", "--timezone 'Europe/Berln': no such time zone; did you mean 'Europe/Berlin'?"),
        ("1h", None, "europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("1h", None, "../../etc/passwd", "no such time zone; write it as in Europe/Berlin"),
        ("1h", "* * * * *", "UTC", "--every and --cron are both given"),
        (None, None, None, "no time is given"),
        ("1d", None, "Asia/Tokyo", "--timezone goes with --cron"),
    ],
)
def test_a_wrong_time_is_refused_with_what_to_write(every, cron, timezone, says) -> None:
    with pytest.raises(UsageError) as refused:
        parse_times(every, cron, timezone)
    assert says in str(refused.value)


def test_a_cron_expression_is_tidied_and_described() -> None:
    times = parse_times(None, " 0  2 * * MON ", "Asia/Tokyo").as_prefect()
    assert times == {"cron": "0 2 * * MON", "timezone": "Asia/Tokyo"}
    assert describe_times(times) == "cron 0 2 * * MON, Asia/Tokyo"
    assert parse_times(None, "@daily", None).cron == "@daily"
