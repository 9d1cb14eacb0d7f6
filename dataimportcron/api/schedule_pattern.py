"""Schedules as a pattern, for who has no parser: the API server.

It knows the grammar and the bounds of each field, and neither that a range must not end before it begins nor which time
zones and durations there are. Whatever is a schedule to `schedule`, and "", matches; few others do.
"""

from __future__ import annotations

from typing import Final

from dataimportcron.schedule import DESCRIPTORS, FIELDS, Bounds

# Whatever is neither a digit nor a letter nor punctuation of ASCII: all that Go takes for space, and more.
_GAP: Final = "[^!-~]+"


def _field(bounds: Bounds) -> str:
    """A list of `*`, numbers, names and ranges within bounds."""
    numbers = "|".join(map(str, range(bounds.low, bounds.high + 1)))
    # Go lowers a letter that is not ASCII's to an i.
    names = "|".join(name.replace("i", "(?:i|[^!-~])") for name in bounds.names)
    value = rf"(?:[+-]?0*(?:{numbers}){f'|(?i:{names})' if names else ''})"
    element = rf"(?:[*?](?:-[^,/]*)*|{value}(?:-{value})?)(?:/[+]?0*[1-9][0-9]*)?"
    return rf"(?:,|{element},)*(?:{element},?|,)"


_DESCRIPTOR: Final = "|".join(("@every .*[0-9].*", *DESCRIPTORS))
_FIELDS: Final = _GAP.join(map(_field, FIELDS))
SCHEDULE: Final = rf"(?:(?:CRON_)?TZ=[^ ]* )?(?:{_GAP})?(?:{_DESCRIPTOR}|{_FIELDS})?(?:{_GAP})?"
"""For a full match; in the syntax that Python's `re` and RE2 share."""
