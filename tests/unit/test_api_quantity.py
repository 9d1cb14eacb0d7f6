from decimal import ROUND_UP, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.api.quantity import parse_quantity

LARGEST = 2**63 - 1
TENS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
SUFFIXES = {suffix: Decimal(10) ** power for suffix, power in TENS.items()} | {
    f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTPE", start=1)
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("00012", 12),
        ("5Gi", 5 * 2**30),
        ("+1.5Gi", 3 * 2**29),
        (".5Mi", 2**19),
        ("1.Ki", 1024),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129E6", 129_000_000),
        ("1e+3", 1000),
        ("1500e-3", 2),
        ("129M", 129_000_000),
        ("128974848000m", 128974848),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1n", 1),
        ("1m", 1),
        ("-1m", -1),
        ("-1.5Ki", -1536),
        ("-1.1", -2),
        ("8Ei", LARGEST),
        ("9223372036854775807", LARGEST),
        ("9223372036854775806.00000000000000000000001", LARGEST),
        ("1e999999999", LARGEST),
        ("-1e999999999", -LARGEST),
        ("1e-999999999", 1),
        ("0e999999999", 0),
        ("0.000000000000000000000000000000000000000000000000000000000001", 1),
    ],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(text, expected):
    assert parse_quantity(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 Gi", " 1", "1\n", "Gi", "+", ".", "-.", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i"),
        *("-3.01i", "-3.01e-", "1e", "1e1.5", "1K", "1ki", "1g", "1gi", "1KI", "1GiB", "1B", "1_000", "1,5", "0x10"),
        *("Infinity", "inf", "NaN", "\uff15Gi", "\u0665", "5\u0413i", "1" * 65),
    ],
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is no quantity; write a number"):
        parse_quantity(text)


@given(st.decimals(min_value=0, max_value=10**15, places=4), st.sampled_from(sorted(SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix_rounded_up(number, suffix):
    exact = Context(prec=200).multiply(number, SUFFIXES[suffix])
    expected = min(int(exact.to_integral_value(rounding=ROUND_UP, context=Context(prec=200))), LARGEST)
    assert parse_quantity(f"{number:f}{suffix}") == expected
    assert parse_quantity(f"-{number:f}{suffix}") == -expected


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=-30, max_value=30))
def test_an_exponent_is_a_power_of_ten(number, exponent):
    expected = min(number * 10**exponent if exponent >= 0 else -(-number // 10**-exponent), LARGEST)
    assert parse_quantity(f"{number}e{exponent}") == parse_quantity(f"{number}E{exponent:+}") == expected


@given(st.text("0123456789.+-eEnumkMGTPi _,\uff15\u0665\n", max_size=80))
def test_any_text_is_read_or_refused_with_a_message(text):
    message, size = "is no quantity", 0
    try:
        size = parse_quantity(text)
    except ValueError as error:
        message = str(error)
    else:
        assert text.isascii()
    assert "is no quantity" in message
    assert -LARGEST <= size <= LARGEST
