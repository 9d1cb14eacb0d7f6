"""Kubernetes' quantities as whole bytes, by exact arithmetic.

No pydantic here: the importer reads sizes too. It refuses what the API server's pattern or ParseQuantity refuses:
digits that are not ASCII, underscores, blanks, Infinity, NaN, unknown suffixes, exponents with a fraction.
"""

from __future__ import annotations

import re

_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?",
    re.ASCII,
)
_TENS = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_TWOS = {f"{prefix}i": 10 * power for power, prefix in enumerate("KMGTPE", start=1)}
_LARGEST = 2**63 - 1
_LONGEST = 64
"""Characters; a longer text is no size, and its arithmetic would only cost time."""
_FARTHEST = 2 * _LONGEST
"""Powers of ten beyond which a number of that many digits rounds to one byte, or is cut to the largest."""


def parse_quantity(text: str) -> int:
    """Bytes of a quantity, rounded away from zero as Kubernetes does; beyond an int64 it is cut to the largest.

    Source: apimachinery's resource.ParseQuantity, and the pattern of a CRD's int-or-string.

    Raises:
        ValueError: `text` is no quantity; the message says what one looks like.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not (match["whole"] or match["fraction"]):
        raise ValueError(
            f"{text[:_LONGEST]!r} is no quantity; write a number with an optional suffix such as Mi, Gi, M or G"
        )
    suffix, fraction = match["suffix"] or "", match["fraction"] or ""
    if suffix in _TENS:
        tens = _TENS[suffix]
    elif suffix in _TWOS:
        tens = 0
    else:
        tens = max(-_FARTHEST, min(_FARTHEST, int(suffix[1:])))
    tens -= len(fraction)
    numerator: int = (int(match["whole"] + fraction) << _TWOS.get(suffix, 0)) * 10 ** max(tens, 0)
    denominator: int = 10 ** max(-tens, 0)
    magnitude = -(-numerator // denominator)
    return min(magnitude, _LARGEST) * (-1 if match["sign"] == "-" else 1)
