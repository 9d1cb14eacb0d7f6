"""Schedules against Go's own answers (cron_table.json) and against properties that hold for every expression."""

import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataimportcron import schedule as module
from dataimportcron.errors import InvalidScheduleError
from dataimportcron.schedule import Schedule, jitter, next_ticks

ROWS = json.loads(Path(__file__).with_name("cron_table.json").read_text(encoding="utf-8"))["rows"]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))

# No examples are stored in the checkout, and two busy cores are no reason to fail.
property_test = settings(database=None, deadline=None)

moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of hypothesis are naive
# Their changes are an hour long and not at midnight; elsewhere Go itself is not monotone (see the table).
plain_zones = st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Tokyo", "Australia/Sydney"])
odd_zones = st.sampled_from(
    ["Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Asia/Gaza", "Antarctica/Troll"]
)


def field(low, high):
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(sorted)
    return st.one_of(
        st.sampled_from(["*", "?", "*/1", "*/2", "*/7"]),
        number.map(str),
        ends.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(ends, st.integers(1, 9)).map(lambda found: f"{found[0][0]}-{found[0][1]}/{found[1]}"),
        st.lists(number, min_size=1, max_size=4).map(lambda numbers: ",".join(map(str, numbers))),
    )


five_fields = st.tuples(*(field(*limits) for limits in LIMITS)).map(" ".join)


def numbers(text, low, high):
    """A field of `five_fields`, read without the code under test."""
    if text[0] in "*?":
        return set(range(low, high + 1, int(text[2:] or 1)))
    if "-" in text:
        span, _, step = text.partition("/")
        first, last = map(int, span.split("-"))
        return set(range(first, last + 1, int(step or 1)))
    return set(map(int, text.split(",")))


def matches(expression, at):
    texts = expression.split()
    minutes, hours, days, months, weekdays = (
        numbers(text, *limits) for text, limits in zip(texts, LIMITS, strict=True)
    )
    in_days, in_week = at.day in days, (at.weekday() + 1) % 7 in weekdays
    both = {texts[2], texts[4]} & {"*", "?", "*/1"}
    day = (in_days and in_week) if both else (in_days or in_week)
    return at.second == 0 and at.minute in minutes and at.hour in hours and at.month in months and day


def stamps(ticks):
    return [tick.strftime("%Y-%m-%dT%H:%M:%SZ") for tick in ticks]


def refusal(expression):
    try:
        Schedule.parse(expression)
    except InvalidScheduleError as error:
        return error
    return None


# --- Go's answers ---------------------------------------------------------------------------------------------------


def test_table_is_wide_enough():
    refused = [row for row in ROWS if row[1]]
    assert len({row[0] for row in ROWS}) == len(ROWS) >= 1000
    assert 250 <= len(refused) <= len(ROWS) - 600


def test_accepts_and_refuses_what_go_does():
    wrong = [(expression, fault) for expression, fault, _ in ROWS if bool(fault) != bool(refusal(expression))]
    assert wrong == []


def test_refuses_in_robfigs_words():
    # What follows is Go's standard library's: the reason of strconv, and a text in Go's quotes.
    heads = {
        expression: fault.split(": strconv")[0].split(' "')[0]
        for expression, fault, _ in ROWS
        if fault and not fault.startswith("panic")
    }
    assert {expression: head for expression, head in heads.items() if head not in str(refusal(expression))} == {}


def test_fires_when_go_does():
    wrong = [
        (expression, after, expected, got)
        for expression, fault, runs in ROWS
        if not fault
        for after, *ticks in runs
        if (expected := [tick for tick in ticks if tick])
        != (got := stamps(next_ticks(Schedule.parse(expression), datetime.fromisoformat(after), 3)))
    ]
    assert wrong == []


def test_the_walk_alone_fires_when_go_does():
    """The correction for changing clocks needs no luck: it is right where croniter is asked, too."""
    wrong = []
    for expression, fault, runs in ROWS:
        timing = None if fault else Schedule.parse(expression)._timing
        if not isinstance(timing, module._Calendar) or not timing._can_fire():
            continue
        for after, first, *_ in runs:
            start = datetime.fromisoformat(after).replace(microsecond=0) + SECOND
            tick = module._walk(timing, start)
            if (stamps([tick])[0] if tick else None) != first:
                wrong.append((expression, after, first, tick))
    assert wrong == []


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "said", "hinted"),
    [
        ("", "empty spec string", "30 1 * * 1"),
        ("61 * * * *", 'minute "61": end of range (61) above maximum (59)', "minute takes 0-59"),
        ("0 0 * * 7", 'day of week "7": end of range (7) above maximum (6)', "Sunday being 0"),
        ("0 0 L * *", 'day of month "L": failed to parse int from L', "1-31"),
        ("R R * * *", 'minute "R"', "0-59"),
        ("0 0 0 1 1 ?", "expected exactly 5 fields, found 6", "five fields"),
        ("@reboot", "unrecognized descriptor: @reboot", "@daily"),
        ("@every 1d", 'unknown unit "d"', "units are h, m, s"),
        ("CRON_TZ=Mars/Olympus 0 0 * * *", "provided bad location Mars/Olympus", "Europe/Paris"),
        ("TZ=UTC", "no fields behind the time zone", "CRON_TZ=Europe/Paris"),
    ],
)
def test_an_error_names_expression_and_field_and_says_what_helps(expression, said, hinted):
    error = refusal(expression)
    assert error.message.startswith(f'schedule "{expression}": ')
    assert said in error.message
    assert hinted in error.hint
    assert (error.reason, error.permanent) == ("InvalidSchedule", True)


@pytest.mark.parametrize(
    "name", ["Europe", "..", "../UTC", "/etc/passwd", "a" * 5000, "\0", "\ud800", "tzdata.zi", "utc/"]
)
def test_a_zone_that_is_no_zone_is_refused(name):
    assert f"provided bad location {name}" in refusal(f"TZ={name} 0 0 * * *").message


@pytest.mark.parametrize(
    "expression", ["9" * 5000 + " * * * *", "*/" + "9" * 5000 + " * * * *", "@every " + "9" * 5000 + "h"]
)
def test_endless_numbers_are_refused(expression):
    assert refusal(expression) is not None


def test_leading_zeros_are_not_a_large_number():
    assert Schedule.parse("0" * 5000 + "5 * * * *").next_after(datetime(2026, 1, 1, tzinfo=UTC)).minute == 5


@property_test
@given(
    st.one_of(st.text(), st.text("0123456789*?-/, @TZ=CRN_UEveryhms.µ\t"), five_fields.map(lambda text: "TZ=" + text))
)
def test_parse_raises_nothing_but_its_own_error(text):
    error = refusal(text)
    if error is None:
        ticks = next_ticks(Schedule.parse(text), datetime(2026, 1, 1, tzinfo=UTC), 2)
        assert ticks == sorted(set(ticks))
    else:
        assert error.hint


# --- what a tick is -------------------------------------------------------------------------------------------------


def test_after_may_be_in_any_zone_and_the_tick_is_in_utc():
    schedule = Schedule.parse("0 12 * * *")
    local = datetime(2026, 5, 1, 13, 59, tzinfo=timezone(timedelta(hours=2)))
    tick = schedule.next_after(local)
    assert (tick, tick.tzinfo) == (datetime(2026, 5, 1, 12, tzinfo=UTC), UTC)
    assert schedule.next_after(tick.astimezone(ZoneInfo("Asia/Tokyo"))) == datetime(2026, 5, 2, 12, tzinfo=UTC)


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="must have a time zone, found 2026-01-01T00:00:00"):
        Schedule.parse("@daily").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - it is what is refused


@pytest.mark.parametrize("expression", ["0 0 31 2 *", ", * * * *", "0 0 , * *", "CRON_TZ=Europe/Paris 0 0 30 2 *"])
def test_what_never_fires_says_so(expression):
    schedule = Schedule.parse(expression)
    assert schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert next_ticks(schedule, datetime(2026, 1, 1, tzinfo=UTC), 3) == []


@pytest.mark.parametrize("expression", ["@yearly", "@every 2562047h", "CRON_TZ=Asia/Tokyo @hourly"])
def test_the_end_of_datetimes_years_is_no_error(expression):
    schedule = Schedule.parse(expression)
    assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert schedule.next_after(datetime(9699, 6, 1, tzinfo=UTC)) is not None


def test_a_day_that_a_zone_skipped_is_stepped_over():
    schedule = Schedule.parse("CRON_TZ=Pacific/Apia 0 12 31 12 *")
    assert schedule.next_after(datetime(2011, 12, 28, tzinfo=UTC)) == datetime(2011, 12, 30, 22, tzinfo=UTC)


def test_a_local_time_that_is_missing_is_skipped_and_one_that_comes_twice_fires_twice():
    schedule = Schedule.parse("CRON_TZ=Europe/Paris 30 2 * * *")
    spring = next_ticks(schedule, datetime(2026, 3, 28, tzinfo=UTC), 2)
    autumn = next_ticks(schedule, datetime(2026, 10, 24, 12, tzinfo=UTC), 3)
    assert stamps(spring) == ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]
    assert stamps(autumn) == ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]


def test_schedules_are_values():
    assert Schedule.parse("@daily") == Schedule.parse("@daily") != Schedule.parse("0 0 * * *")
    assert Schedule.parse("@daily").expression == "@daily"
    with pytest.raises(AttributeError):
        Schedule.parse("@daily").expression = "@hourly"


def test_next_ticks_stops_at_the_count():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_ticks(Schedule.parse("@hourly"), start, 0) == []
    assert next_ticks(Schedule.parse("@hourly"), start, 2) == [start.replace(hour=1), start.replace(hour=2)]


# --- properties -----------------------------------------------------------------------------------------------------


@property_test
@given(five_fields, moments)
def test_a_tick_is_later_whole_and_matches_its_fields(expression, after):
    tick = Schedule.parse(expression).next_after(after)
    assume(tick is not None)
    assert tick > after
    assert (tick.second, tick.microsecond, tick.tzinfo) == (0, 0, UTC)
    assert matches(expression, tick)


@property_test
@given(five_fields, moments)
def test_no_matching_minute_is_missed(expression, after):
    tick = Schedule.parse(expression).next_after(after)
    first = after.replace(second=0, microsecond=0) + MINUTE
    between = (first + MINUTE * count for count in range(600))
    expected = next((minute for minute in between if matches(expression, minute)), None)
    found = tick if tick is not None and tick < first + 600 * MINUTE else None
    assert found == expected


@property_test
@given(five_fields, moments, plain_zones)
def test_a_tick_follows_from_any_moment_since_the_one_before(expression, after, zone):
    schedule = Schedule.parse(f"CRON_TZ={zone} {expression}")
    tick = schedule.next_after(after)
    assume(tick is not None)
    halfway = after + (tick - after) / 2
    assert schedule.next_after(tick - SECOND) == schedule.next_after(halfway) == tick


@property_test
@given(five_fields, moments, st.timedeltas(timedelta(), timedelta(days=40)), plain_zones)
def test_a_later_start_never_finds_an_earlier_tick(expression, after, delay, zone):
    schedule = Schedule.parse(f"CRON_TZ={zone} {expression}")
    early, late = schedule.next_after(after), schedule.next_after(after + delay)
    assume(early is not None and late is not None)
    assert early <= late


@property_test
@given(five_fields, moments, st.one_of(plain_zones, odd_zones))
def test_croniter_where_it_is_asked_and_gos_walk_agree(expression, after, zone):
    schedule = Schedule.parse(f"CRON_TZ={zone} {expression}")
    tick = schedule.next_after(after)
    assert tick == module._walk(schedule._timing, after.replace(microsecond=0) + SECOND)
    assert tick is None or tick > after


@property_test
@given(st.integers(0, 10**7), moments)
def test_every_counts_from_the_whole_second_before(seconds, after):
    tick = Schedule.parse(f"@every {seconds}s").next_after(after)
    assert tick == after.replace(microsecond=0) + timedelta(seconds=max(1, seconds))


@property_test
@given(st.text(), st.timedeltas(timedelta(), timedelta(days=2)))
def test_jitter_stays_in_its_window(key, window):
    delay = jitter(key, window)
    assert timedelta() <= delay <= window
    assert delay < window or not window
    assert delay == jitter(key, window)


def test_jitter_is_the_same_on_every_machine_and_spreads():
    hour = timedelta(hours=1)
    # The first 8 bytes of the SHA-256 of the key are 56ec908b79d5e0ad: that share of an hour.
    assert jitter("golden-images/fedora", hour) == timedelta(microseconds=0x56EC908B79D5E0AD * 3_600_000_000 // 2**64)
    quarters = [jitter(f"golden-images/{number}", hour) // timedelta(minutes=15) for number in range(400)]
    assert all(70 < quarters.count(quarter) < 130 for quarter in range(4))


def test_jitter_refuses_a_negative_window():
    with pytest.raises(ValueError, match="must not be negative"):
        jitter("a", timedelta(seconds=-1))


# --- what the code relies on ----------------------------------------------------------------------------------------


def offset_changes(data):
    """Seconds since 1970 at which a TZif file (RFC 9636, version 2 and up) changes its offset."""
    heads = [struct.unpack(">6l", data[20:44])]
    isut, isstd, leap, count, types, chars = heads[0]
    second = 44 + count * 5 + types * 6 + chars + leap * 8 + isstd + isut
    _, _, _, count, types, _ = struct.unpack(">6l", data[second + 20 : second + 44])
    begin = second + 44
    times = struct.unpack(f">{count}q", data[begin : begin + 8 * count])
    kinds = data[begin + 8 * count : begin + 9 * count]
    table = begin + 9 * count
    offsets = [struct.unpack(">l", data[table + 6 * kind : table + 6 * kind + 4])[0] for kind in range(types)]
    last = None
    for time, kind in zip(times, kinds, strict=True):
        if offsets[kind] != last:
            yield time
        last = offsets[kind]


def test_samples_of_a_zone_miss_no_change_of_its_offset():
    folder = resources.files("tzdata")
    names = folder.joinpath("zones").read_text(encoding="utf-8").split()
    gaps = {
        later - earlier
        for name in names
        for earlier, later in pairwise(offset_changes(folder.joinpath("zoneinfo", *name.split("/")).read_bytes()))
    }
    assert len(names) > 500
    assert timedelta(seconds=min(gaps)) > module._SAMPLE
