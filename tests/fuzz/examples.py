"""How many inputs hypothesis makes: few by default, a hundred times as many by --hypothesis-profile=thorough."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_USUAL = 100
"""Examples of hypothesis's own default; a profile with more multiplies ours."""


def examples(count: int) -> settings:
    """The settings of a test that usually has `count` examples."""
    return settings(
        max_examples=max(count * settings.default.max_examples // _USUAL, 1),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
