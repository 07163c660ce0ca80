"""What numbers are worth, where it is beyond doubt."""

import pytest

from inkdigits.reading.values import value_of


@pytest.mark.parametrize(
    ("text", "unknown", "point", "comma"),
    [
        ("007", 7, 7, 7),
        ("-12", -12, -12, -12),
        ("24.6", 24.6, 24.6, None),
        ("24,6", 24.6, None, 24.6),
        ("1.420", None, 1.42, 1420),
        ("1,420", None, 1420, 1.42),
        ("0.500", 0.5, 0.5, 500),  # nobody groups after a zero
        ("1234.567", 1234.567, 1234.567, None),
        ("1.420,50", 1420.5, None, 1420.5),
        ("1,420.50", 1420.5, 1420.5, None),
        ("1.420.000", 1420000, None, 1420000),
        (".5", 0.5, 0.5, None),
        ("5.", 5, 5, None),
        ("5.-", 5, 5, 5),
        ("-5,-", -5, -5, -5),
        ("24.12.2026", None, None, None),
        ("12-34", None, None, None),
        ("1?", None, None, None),
        ("?", None, None, None),
        ("-", None, None, None),
        (".", None, None, None),
    ],
)
def test_values(text, unknown, point, comma):
    for decimal, expected in ((None, unknown), (".", point), (",", comma)):
        assert value_of(text, decimal) == expected, decimal


def test_whole_numbers_are_integers_of_any_size():
    assert value_of("9" * 40) == int("9" * 40)
    assert isinstance(value_of("24"), int)
    assert isinstance(value_of("24.0"), float)
