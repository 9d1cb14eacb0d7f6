"""Schedules exactly as CDI reads them: robfig/cron v3.0.1's ParseStandard in front of croniter.

CDI admits a schedule with robfig's parser and fires it with robfig's search, so a YAML that works there must mean the
same here, to the second. croniter alone reads another language (`5-5` is every hour, `*/1` is no star, 7 is Sunday),
hence every expression is parsed here and croniter only sees explicit lists of numbers. Where clocks change between two
ticks, croniter and Go disagree and Go's search is followed step by step, oddities included: it skips a local time that
does not exist and takes both of one that comes twice. `tests/unit/cron_table.json` holds Go's own answers.

It refuses what robfig refuses (seconds, L, W, #, R, H, 7, reversed ranges) and never asks what time it is: `after` is
an argument. An empty schedule is no schedule: callers take it for "on request only" before they come here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import TypeAlias
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from dataimportcron.errors import InvalidScheduleError

_EXAMPLES = 'use five fields such as "30 1 * * 1", or a descriptor such as "@daily" or "@every 6h"'
_ZONE_EXAMPLE = 'use a name of the tz database, as in "CRON_TZ=Europe/Paris 30 1 * * 1"'
_INT64_MAX = 2**63 - 1
_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

# Go's years have no end, datetime's have: 292 years of @every and a search of 5 fit between this year and the last.
_LAST_YEAR = MAXYEAR - 300
_SEARCH_YEARS = 5
# No two changes of one zone's offset are nearer than 167 hours in the tz database: samples this far apart see them all.
_SAMPLE = timedelta(hours=160)
# robfig's search may fall back to the first of the month before it goes forward.
_LOOK_BACK = timedelta(days=32)
# Go's unicode.IsSpace; Python's str.split would also split at U+001C to U+001F.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORDS = re.compile(f"[^{_SPACE}]+")
_TRIM = re.compile(f"^[{_SPACE}]+|[{_SPACE}]+$")
_ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(?P<name>[^ ]*)(?P<rest> .*)?", re.DOTALL)
_DURATION_TERM = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>[^0-9.]*)")

_YEARLY, _DAILY = "0 0 1 1 *", "0 0 * * *"
DESCRIPTORS = {"@yearly": _YEARLY, "@annually": _YEARLY, "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0"}
DESCRIPTORS |= {"@daily": _DAILY, "@midnight": _DAILY, "@hourly": "0 * * * *"}
_NANOSECONDS = {"ns": 1, "us": 10**3, "\N{MICRO SIGN}s": 10**3, "\N{GREEK SMALL LETTER MU}s": 10**3, "ms": 10**6}
_NANOSECONDS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

# One loop of robfig's Next: while a field does not match, (floor and) advance; a carry starts over with the month.
_Test: TypeAlias = Callable[[datetime], bool]
_Move: TypeAlias = Callable[[datetime], datetime]
_Refuse: TypeAlias = Callable[..., InvalidScheduleError]
_Loop: TypeAlias = tuple[_Test, _Move, _Move, _Test]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one field may hold: numbers from `low` to `high`, and lower-case names for some of them."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)


def _numbered(words: str, first: int) -> Mapping[str, int]:
    return {word: number for number, word in enumerate(words.split(), first)}


FIELDS = (
    Bounds(name="minute", low=0, high=59),
    Bounds(name="hour", low=0, high=23),
    Bounds(name="day of month", low=1, high=31),
    Bounds(name="month", low=1, high=12, names=_numbered("jan feb mar apr may jun jul aug sep oct nov dec", 1)),
    Bounds(name="day of week", low=0, high=6, names=_numbered("sun mon tue wed thu fri sat", 0)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calendar:
    """robfig's SpecSchedule: sets of numbers, Sunday being 0, and the zone in which they are meant.

    `starred` is its star bit: with a `*` in one of the two day fields a day must match both, else either is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    starred: bool
    zone: tzinfo

    def has_day(self, moment: datetime) -> bool:
        in_month, in_week = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        return (in_month and in_week) if self.starred else (in_month or in_week)

    def next_after(self, after: datetime) -> datetime | None:
        """The first tick later than `after` (UTC), in UTC; None where Go finds none within five years."""
        if not self._can_fire():
            return None
        floor = after.replace(microsecond=0)
        local = floor.astimezone(self.zone)
        found = self._search(local.replace(tzinfo=UTC, fold=0, second=0), (local + _SECOND).year + _SEARCH_YEARS)
        if self.zone is UTC:
            return found
        offset = local.utcoffset() or timedelta()
        if found and _steady(self.zone, floor - _LOOK_BACK, found - offset, offset):
            return found - offset
        return _walk(self, floor + _SECOND)

    def _can_fire(self) -> bool:
        """False for a field of nothing but commas, which robfig admits and which matches no time at all."""
        some_day = (self.days and self.weekdays) if self.starred else (self.days or self.weekdays)
        return bool(self.minutes and self.hours and self.months and some_day)

    @lru_cache(maxsize=4096)  # noqa: B019 -- calendars are values, `parse` keeps them anyway, and crons share them
    def _search(self, wall: datetime, last_year: int) -> datetime | None:
        """The next matching wall-clock time after a whole minute, as if it were UTC: no clock changes in between."""
        try:
            found = croniter(self._explicit(), wall, max_years_between_matches=_SEARCH_YEARS + 1).get_next(datetime)
        except CroniterBadDateError:
            return None
        return found if found.year <= last_year else None

    def _explicit(self) -> str:
        """The five fields in the part of croniter's language that means the same to robfig."""
        sets = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        texts = [
            # A field that restricts nothing is full or, beside the other day field, empty.
            ",".join(map(str, sorted(numbers))) if 0 < len(numbers) <= bounds.high - bounds.low else "*"
            for numbers, bounds in zip(sets, FIELDS, strict=True)
        ]
        if not self.starred and self.days and self.weekdays and "*" in (texts[2], texts[4]):
            texts[2] = texts[4] = "*"
        return " ".join(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One parsed schedule; `parse` makes it from `expression`, which is kept as written and is its identity."""

    expression: str
    _timing: _Calendar | timedelta = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Reads a cron expression, a descriptor (`@daily`, `@every 6h`), each with `CRON_TZ=<zone> ` if need be.

        Raises:
            InvalidScheduleError: robfig's ParseStandard refuses it (or panics), the empty string included.
        """
        return _parse(expression)

    def next_after(self, after: datetime) -> datetime | None:
        """The next tick.

        Args:
            after: aware, any zone; the tick is strictly later.

        Returns:
            A whole second in UTC, or None where nothing matches within five years, as for the 31st of February.

        Raises:
            ValueError: `after` is naive.
        """
        if after.tzinfo is None:
            raise ValueError(f"the time after which to look must have a time zone, found {after.isoformat()}")
        instant = after.astimezone(UTC)
        if instant.year > _LAST_YEAR:
            return None
        if isinstance(self._timing, timedelta):
            return instant.replace(microsecond=0) + self._timing
        return self._timing.next_after(instant)


def next_ticks(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The next `count` ticks later than `after` (aware), in UTC; fewer where the schedule never fires again."""
    ticks: list[datetime] = []
    while len(ticks) < count and (tick := schedule.next_after(after)) is not None:
        ticks.append(after := tick)
    return ticks


def jitter(key: str, window: timedelta) -> timedelta:
    """A delay in [0, window) that is the same for the same key on every machine; zero for an empty window.

    Raises:
        ValueError: the window is negative.
    """
    if window < timedelta():
        raise ValueError(f"a jitter's window must not be negative, found {window}")
    share = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8])
    return timedelta(microseconds=share * (window // timedelta(microseconds=1)) >> 64)


@lru_cache(maxsize=1024)
def _parse(expression: str) -> Schedule:
    def refuse(fault: str, *, hint: str = _EXAMPLES) -> InvalidScheduleError:
        return InvalidScheduleError(f'schedule "{expression}": {fault}', hint=hint)

    if not expression:
        raise refuse("empty spec string")
    zone, spec = _zone(expression, refuse)
    if spec.startswith("@every "):
        return Schedule(expression=expression, _timing=_every(spec, refuse))
    if spec.startswith("@") and spec not in DESCRIPTORS:
        hint = f"the descriptors are {', '.join(DESCRIPTORS)} and @every with a duration"
        raise refuse(f"unrecognized descriptor: {spec}", hint=hint)
    words = _WORDS.findall(DESCRIPTORS.get(spec, spec))
    if len(words) != len(FIELDS):
        raise refuse(f"expected exactly 5 fields, found {len(words)}: [{' '.join(words)}]")
    found = [_numbers(text, bounds, refuse) for text, bounds in zip(words, FIELDS, strict=True)]
    sets = dict(zip(("minutes", "hours", "days", "months", "weekdays"), [numbers for numbers, _ in found], strict=True))
    return Schedule(expression=expression, _timing=_Calendar(**sets, starred=found[2][1] or found[4][1], zone=zone))


class _FieldError(ValueError):
    """One field is wrong, in robfig's words; `_parse` adds which field of which expression."""


def _zone(expression: str, refuse: _Refuse) -> tuple[tzinfo, str]:
    """The zone of a TZ= or CRON_TZ= prefix, UTC without one, and the text behind it."""
    prefix = _ZONE_PREFIX.fullmatch(expression)
    if prefix is None:
        return UTC, expression
    name, rest = prefix["name"], prefix["rest"]
    if rest is None:
        raise refuse("no fields behind the time zone", hint=_ZONE_EXAMPLE)
    spec = _TRIM.sub("", rest)
    # Go's LoadLocation takes these for UTC and for the zone of the time at hand, which is UTC here.
    if name in {"", "UTC", "Local"}:
        return UTC, spec
    try:
        return ZoneInfo(name), spec
    # A name becomes a path: besides "no such key" it can be a folder, too long, or no file of the tz database.
    except (KeyError, ValueError, OSError) as error:
        raise refuse(f"provided bad location {name}: not in the tz database", hint=_ZONE_EXAMPLE) from error


def _numbers(text: str, bounds: Bounds, refuse: _Refuse) -> tuple[frozenset[int], bool]:
    """A field's numbers and its star bit; elements may be empty, as in `1,,3`."""
    try:
        elements = [_element(element, bounds) for element in text.split(",") if element]
    except _FieldError as fault:
        sunday = ", Sunday being 0" if bounds.name == "day of week" else ""
        hint = f"{bounds.name} takes {bounds.low}-{bounds.high}{sunday}; {_EXAMPLES}"
        raise refuse(f'{bounds.name} "{text}": {fault}', hint=hint) from fault
    return frozenset().union(*(found for found, _ in elements)), any(star for _, star in elements)


def _element(text: str, bounds: Bounds) -> tuple[range, bool]:
    """One element of a list, in robfig's order of checks, and whether it counts as a star."""
    head, *steps = text.split("/")
    first, *rest = head.split("-")
    # robfig never looks at what follows a star and a hyphen: `*-5` is `*`.
    starred = first in {"*", "?"}
    if starred:
        low, high = bounds.low, bounds.high
    else:
        low = _number(first, bounds.names)
        if len(rest) > 1:
            raise _FieldError(f"too many hyphens: {text}")
        high = _number(rest[0], bounds.names) if rest else low
    if len(steps) > 1:
        raise _FieldError(f"too many slashes: {text}")
    step = _number(steps[0], {}) if steps else 1
    if steps and not rest:
        high = bounds.high
    if low < bounds.low:
        raise _FieldError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise _FieldError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise _FieldError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise _FieldError(f"step of range should be a positive number: {text}")
    return range(low, high + 1, step), starred and step == 1


def _number(text: str, names: Mapping[str, int]) -> int:
    """A name in any case, or what Go's strconv.Atoi reads: ASCII digits of an int64, with a sign."""
    # Go lowers U+0130 to a plain i, Python to two characters.
    named = names.get(text.replace("\u0130", "i").lower())
    if named is not None:
        return named
    number = re.fullmatch(r"([+-]?)0*([0-9]{1,19})", text)
    if number is None or int(number[2]) > _INT64_MAX:
        raise _FieldError(f"failed to parse int from {text}")
    sign, digits = number.groups()
    if sign == "-" and int(digits) > 0:
        raise _FieldError(f"negative number (-{digits}) not allowed: {text}")
    return int(digits)


def _every(descriptor: str, refuse: _Refuse) -> timedelta:
    """The delay of robfig's ConstantDelaySchedule: whole seconds, at least one."""
    try:
        nanoseconds = _duration(descriptor.removeprefix("@every "))
    except _FieldError as fault:
        hint = 'units are h, m, s and smaller ones, e.g. "@every 1h30m"'
        raise refuse(f"failed to parse duration {descriptor}: {fault}", hint=hint) from fault
    return max(_SECOND, timedelta(seconds=nanoseconds // 10**9))


def _duration(text: str) -> int:
    """Nanoseconds as Go's time.ParseDuration reads them, its floating-point fractions included."""
    invalid = _FieldError(f'time: invalid duration "{text}"')
    negative, body = text.startswith("-"), text[1:] if text.startswith(("-", "+")) else text
    if body == "0":
        return 0
    if not body:
        raise invalid
    total = position = 0
    while position < len(body):
        term = _DURATION_TERM.match(body, position)
        if term is None or not (term["whole"] or term["fraction"]):
            raise invalid
        unit = _NANOSECONDS.get(term["unit"])
        if unit is None:
            fault = f'unknown unit "{term["unit"]}"' if term["unit"] else "missing unit"
            raise _FieldError(f'time: {fault} in duration "{text}"')
        # Twenty digits are as much too large as all of them, and quickly read.
        total += int(term["whole"].lstrip("0")[:20] or 0) * unit + _fraction(term["fraction"] or "", unit)
        if total > _INT64_MAX + negative:
            raise invalid
        position = term.end()
    return -total if negative else total


def _fraction(digits: str, unit: int) -> int:
    """Nanoseconds behind the point; digits beyond an int64 are dropped, as Go's leadingFraction does."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > _INT64_MAX // 10:
            break
        value, scale = value * 10 + int(digit), scale * 10
    return int(value * (unit / scale))


def _steady(zone: tzinfo, start: datetime, end: datetime, offset: timedelta) -> bool:
    """Whether the zone keeps that offset, of whole minutes, from start to end (UTC)."""
    moments = [start + _SAMPLE * number for number in range((end - start) // _SAMPLE + 1)]
    return not offset % _MINUTE and all(at.astimezone(zone).utcoffset() == offset for at in (*moments, end))


def _walk(calendar: _Calendar, start: datetime) -> datetime | None:
    """SpecSchedule.Next on local times, with Go's arithmetic; `start` (UTC) is the first second that counts.

    Its loops look at one field each and trust that every hour has a minute 0 and every day an hour 0. Where that does
    not hold (half-hour changes, changes at midnight) it skips ticks or fires beside the fields; so does this.
    """
    loops = _loops(calendar)
    moment = start.astimezone(calendar.zone)
    last_year = moment.year + _SEARCH_YEARS
    floored = False
    while moment.year <= last_year:
        for matches, floor, advance, carried in loops:
            carry = False
            while not carry and not matches(moment):
                moment = advance(moment if floored else floor(moment))
                floored, carry = True, carried(moment)
            if carry:
                break
        else:
            return moment.astimezone(UTC)
    return None


def _loops(of: _Calendar) -> tuple[_Loop, ...]:
    floor, later = partial(_floor, of.zone), partial(_later, of.zone)
    month, day = partial(floor, day=1, hour=0, minute=0, second=0), partial(floor, hour=0, minute=0, second=0)
    hour, day_on, month_on = partial(floor, minute=0, second=0), partial(_day_on, of.zone), partial(_month_on, of.zone)

    def minute(at: datetime) -> datetime:
        # Go truncates absolute time: it differs where an offset has seconds.
        return at.astimezone(UTC).replace(second=0).astimezone(of.zone)

    return (
        (lambda at: at.month in of.months, month, month_on, lambda at: at.month == 1),
        (of.has_day, day, day_on, lambda at: at.day == 1),
        (lambda at: at.hour in of.hours, hour, partial(later, delay=_HOUR), lambda at: at.hour == 0),
        (lambda at: at.minute in of.minutes, minute, partial(later, delay=_MINUTE), lambda at: at.minute == 0),
        (lambda at: at.second == 0, lambda at: at, partial(later, delay=_SECOND), lambda at: at.second == 0),
    )


def _date(zone: tzinfo, wall: datetime) -> datetime:
    """Go's time.Date: which moment it picks for a local time that comes twice or never follows from two look-ups."""
    guess = wall - (wall.astimezone(zone).utcoffset() or timedelta())
    return (wall - (guess.astimezone(zone).utcoffset() or timedelta())).astimezone(zone)


def _floor(zone: tzinfo, at: datetime, **parts: int) -> datetime:
    return _date(zone, at.replace(tzinfo=UTC, fold=0, **parts))


def _later(zone: tzinfo, at: datetime, delay: timedelta) -> datetime:
    """Go's Time.Add: Python's own addition would move the wall clock instead."""
    return (at.astimezone(UTC) + delay).astimezone(zone)


def _month_on(zone: tzinfo, at: datetime) -> datetime:
    """Go's AddDate(0, 1, 0): the 31st of a short month is a day of the one after it."""
    first = at.replace(tzinfo=UTC, fold=0, day=1)
    return _date(zone, (first + 32 * _DAY).replace(day=1) + (at.day - 1) * _DAY)


def _day_on(zone: tzinfo, at: datetime) -> datetime:
    """The step to the next day, with robfig's correction for days without a midnight."""
    following = _date(zone, at.replace(tzinfo=UTC, fold=0) + _DAY)
    if following.hour:
        midnight = _DAY if following.hour * _HOUR > _DAY / 2 else timedelta()
        following = _later(zone, following, midnight - _HOUR * following.hour)
    # Go stays for ever before a day that a zone skipped (Samoa, 2011-12-30); this steps over it.
    return following if following.astimezone(UTC) > at.astimezone(UTC) else _later(zone, at, _DAY)
