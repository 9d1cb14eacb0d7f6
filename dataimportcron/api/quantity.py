"""Kubernetes' quantities as whole bytes."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_QUANTITY = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-zA-Z]{0,2}|[eE][+-]?[0-9]+)", re.ASCII)
_FACTORS = {
    "": Decimal(1),
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    **{f"{prefix}i": Decimal(2) ** (10 * power) for power, prefix in enumerate("KMGTPE", start=1)},
}
_LARGEST = 2**63 - 1
_LONGEST = 64
"""Characters; a longer text is no size, and its arithmetic would only cost time."""


def parse_quantity(text: str) -> int:
    """Bytes of a quantity, rounded up as Kubernetes does; larger than an int64 is cut to its maximum.

    Source: apimachinery's resource.ParseQuantity.

    Raises:
        ValueError: `text` is no quantity; the message says what one looks like.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    suffix = match[3] if match else ""
    exponent = suffix[1:] if suffix[:1] in {"e", "E"} and suffix not in _FACTORS else ""
    if match is None or not (exponent or suffix in _FACTORS):
        raise ValueError(
            f"{text[:_LONGEST]!r} is no quantity; write a number with an optional suffix such as Mi, Gi, M or G"
        )
    factor = Decimal(10) ** max(min(int(exponent), 40), -40) if exponent else _FACTORS[suffix]
    value = int((Decimal(match[2]) * factor).to_integral_value(rounding=ROUND_CEILING))
    return min(value, _LARGEST) * (-1 if match[1] == "-" else 1)
