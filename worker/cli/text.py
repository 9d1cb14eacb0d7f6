"""How things are written for a person: columns, ages, sizes, and lines that keep to the terminal's width.

Nothing wraps where nobody looks: in a pipe the width is unlimited, so `grep` finds a sentence whole.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TextIO

from dataimportcron.errors import DataImportCronError

_GAPS: Final = ("   ", "  ")
"""Between two columns, as kubectl has it; the second where that keeps the table in the terminal."""
_LEAST_NOTE: Final = 40
"""Columns that a sentence needs beside its row; with fewer it goes below it."""
_LEAST_CELL: Final = 20
"""Columns that a cell which is cut must still have."""
_INDENT: Final = "    "
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))
_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"
_COLOURS: Final = {
    "True": _GREEN,
    "Succeeded": _GREEN,
    "ok": _GREEN,
    "False": _RED,
    "Failed": _RED,
    "wrong": _RED,
}


def width_of(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream writes to; None where it writes elsewhere."""
    if not (stream or sys.stdout).isatty():
        return None
    return shutil.get_terminal_size().columns


def coloured() -> bool:
    """Whether the standard output takes colours: a terminal that can, and nobody has set NO_COLOR."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(rows: Sequence[Sequence[str]], *, width: int | None = None, colours: bool = False) -> str:
    """Rows as aligned columns, the first being the head; only cells below it are coloured."""
    widths = column_widths(rows)
    return "\n".join(line(row, widths, width=width, colours=colours and number > 0) for number, row in enumerate(rows))


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def fitted(rows: Sequence[Sequence[str]], width: int | None, first_to_go: Sequence[str]) -> list[list[str]]:
    """Rows without as many columns, named by their heads, as must go for the table to keep to the width."""
    found = [list(row) for row in rows]
    for name in first_to_go:
        if width is None or _wide(column_widths(found), _GAPS[1]) <= width:
            break
        if name in found[0]:
            place = found[0].index(name)
            found = [[*row[:place], *row[place + 1 :]] for row in found]
    return found


def cut(rows: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """Rows whose last cells have lost their beginning where that lets the table keep to the width."""
    widths = column_widths(rows)
    room = widths[-1] if width is None else width - _wide(widths, _GAPS[1]) + widths[-1]
    if room >= widths[-1] or room < _LEAST_CELL:
        return [list(row) for row in rows]
    return [[*row[:-1], row[-1] if len(row[-1]) <= room else f"...{row[-1][3 - room :]}"] for row in rows]


def line(row: Sequence[str], widths: Sequence[int], *, width: int | None = None, colours: bool = False) -> str:
    """One row of a table with columns of these widths; a cell that is wider than its column moves those after it."""
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    if colours:
        cells = [painted(text, cell) for cell, text in zip(cells, row, strict=True)]
    return _gap(widths, width).join(cells).rstrip()


def noted(rows: Sequence[tuple[Sequence[str], str]], *, width: int | None = None, colours: bool = False) -> str:
    """Rows that each have a sentence, the first being the head.

    The sentence is the last column where there is room for it, and stands below its row where there is not.
    """
    widths = column_widths([cells for cells, _ in rows])
    before = sum(widths) + len(_gap(widths, width)) * len(widths)
    longest = max((len(word) for _, note in rows for word in note.split()), default=0)
    beside = width is None or width - before >= max(_LEAST_NOTE, longest)
    found = []
    for number, (cells, note) in enumerate(rows):
        text = line(cells, widths, width=width, colours=colours and number > 0)
        bare = len(line(cells, widths, width=width))
        if beside:
            folded = wrapped(note, None if width is None else width - before) or [""]
            found.append(f"{text}{' ' * (before - bare)}{folded[0]}".rstrip())
            found += [" " * before + more for more in folded[1:]]
        else:
            found.append(text)
            found += wrapped(note, width, indent=_INDENT) if number else []
    return "\n".join(found)


def painted(text: str, cell: str = "") -> str:
    """A word in its colour, if it has one; `cell` is the word with the spaces of its column."""
    colour = _COLOURS.get(text)
    return f"{colour}{cell or text}{_PLAIN}" if colour else cell or text


def wrapped(text: str, width: int | None, *, indent: str = "", hang: str = "") -> list[str]:
    """A sentence as lines; words that are too long for one stay whole."""
    if width is None:
        return [indent + text] if text else []
    return textwrap.wrap(
        text,
        max(width, len(indent) + 20),
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago something was, as kubectl says it."""
    return span((now - moment).total_seconds()) if moment is not None else "<never>"


def span(seconds: float) -> str:
    """A length of time in one unit, such as 90s, 5m, 3h or 12d."""
    whole = max(int(seconds), 0)
    unit, size = next(((unit, size) for unit, size in _UNITS if whole >= 2 * size), ("s", 1))
    return f"{whole // size}{unit}"


def duration(seconds: float) -> str:
    """A length of time as a person times something: 4.2s, 1m30s, 2h05m."""
    if seconds < 60:  # noqa: PLR2004 -- seconds of a minute
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def eta(seconds: float) -> str:
    """A guess of a length of time: whole seconds below a minute."""
    return f"{seconds:.0f}s" if seconds < 59.5 else duration(seconds)  # noqa: PLR2004 -- a minute, rounded


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves a whole number before the point."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 -- of the next smaller unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def parse_time(text: str | None) -> datetime | None:
    """A moment as objects carry it (RFC 3339); None where it is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def titled(key: str) -> str:
    """A field's name as kubectl describes it: `managedDataSource` is Managed Data Source."""
    words: list[str] = []
    for before, character in zip(" " + key, key, strict=False):
        if not words or (character.isupper() and not before.isupper()):
            words.append(character.upper())
        else:
            words[-1] += character
    return " ".join(words)


def say(sentence: str, stream: TextIO | None = None) -> None:
    """Print a sentence, wrapped where a terminal needs it; to the standard output unless a stream is given."""
    print("\n".join(wrapped(sentence, width_of(stream))), file=stream or sys.stdout, flush=True)


def report(error: DataImportCronError) -> int:
    """Say an error and what to do about it, on the standard error; returns the exit code."""
    say(f"error: {error.message}", sys.stderr)
    if error.hint:
        say(f"hint: {error.hint}", sys.stderr)
    return 2 if error.permanent else 1


def serialized(value: Any, form: str) -> str:  # noqa: ANN401 -- whatever JSON can hold
    """A document as text, with the end of its last line.

    Args:
        value: of what JSON knows.
        form: json or yaml.
    """
    if form == "json":
        import json  # noqa: PLC0415 -- no help needs it

        # In another encoding a letter that it lacks would end the command.
        return json.dumps(value, indent=4, ensure_ascii=sys.stdout.encoding != "utf-8") + "\n"
    import yaml  # noqa: PLC0415 -- as long to load as a command that prints a table

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def outline(document: dict[str, Any], *, indent: str = "", width: int | None = None) -> list[str]:
    """A document as kubectl describes one: a line per field, the values of one level aligned."""
    longest = max((len(titled(key)) for key, value in document.items() if not _nests(value)), default=0)
    found: list[str] = []
    for key, value in document.items():
        head = f"{indent}{titled(key)}:"
        if isinstance(value, dict) and value:
            found += [head, *outline(value, indent=f"{indent}  ", width=width)]
        elif isinstance(value, list) and value and _nests(value):
            found.append(head)
            for item in value:
                lines = outline(item, indent=f"{indent}    ", width=width)
                found += [f"{indent}  - {lines[0].lstrip()}", *lines[1:]] if lines else []
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found += field(head, text, len(indent) + longest + 3, width)
    return found


def field(head: str, text: str, column: int, width: int | None) -> list[str]:
    """A field's name and its value, which goes on below itself; below the name where a word needs the room."""
    if width is not None and max(map(len, text.split()), default=0) > width - column:
        before = " " * (len(head) - len(head.lstrip()) + 2)
        return [head, *wrapped(text, width, indent=before)]
    folded = wrapped(text, width and width - column) or ["<none>"]
    return [f"{head.ljust(column)}{folded[0]}", *(" " * column + more for more in folded[1:])]


def _nests(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and bool(value)


def _gap(widths: Sequence[int], width: int | None) -> str:
    return _GAPS[0] if width is None or _wide(widths, _GAPS[0]) <= width else _GAPS[1]


def _wide(widths: Sequence[int], gap: str) -> int:
    return sum(widths) + len(gap) * (len(widths) - 1)
