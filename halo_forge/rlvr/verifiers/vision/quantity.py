"""Numbers as people write them in answers: units, percent, fractions, thousands, number words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

__all__ = ["NUMBER_WORDS", "Quantity", "parse_quantity", "same_quantity"]

_LONGEST = 60
"""Characters of the longest text that can be a number with its unit."""

_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
NUMBER_WORDS = MappingProxyType({word: number for number, word in enumerate(_WORDS)})
"""Number words that are understood."""

_SCALES = {
    "thousand": 10**3, "k": 10**3, "million": 10**6, "mn": 10**6, "billion": 10**9, "bn": 10**9,
    "trillion": 10**12,
}  # fmt: skip

_UNITS: dict[str, tuple[str, Fraction]] = {
    spelling: (kind, Fraction(factor))
    for kind, factor, spellings in (
        ("percent", "1", "% percent pct"),
        ("length", "0.001", "mm millimeter millimeters millimetre millimetres"),
        ("length", "0.01", "cm centimeter centimeters centimetre centimetres"),
        ("length", "1", "m meter meters metre metres"),
        ("length", "1000", "km kilometer kilometers kilometre kilometres"),
        ("length", "0.0254", "inch inches"),
        ("length", "0.3048", "ft foot feet"),
        ("length", "1609.344", "mile miles mi"),
        ("mass", "0.001", "g gram grams"),
        ("mass", "1", "kg kilogram kilograms"),
        ("mass", "1000", "t ton tons tonne tonnes"),
        ("time", "1", "s sec second seconds"),
        ("time", "60", "min minute minutes"),
        ("time", "3600", "h hr hour hours"),
        ("volume", "0.001", "ml milliliter milliliters millilitre millilitres"),
        ("volume", "1", "l liter liters litre litres"),
        ("angle", "1", "° deg degree degrees"),
        ("usd", "1", "$ usd dollar dollars"),
        ("eur", "1", "€ eur euro euros"),
        ("gbp", "1", "£ gbp pound pounds"),
    )
    for spelling in spellings.split()
}
"""Units by spelling: what they measure, and how many of the base unit they are."""

_NUMBER = re.compile(
    r"""
    (?P<money>[$€£])?\s?
    (?P<sign>[-+\u2212])?\s?
    (?:
        (?P<whole>[0-9]{1,3}\s+)?(?P<above>[0-9]{1,9})\s?/\s?(?P<below>[0-9]{1,9})
      | (?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)
    )
    \s?(?:(?P<scale>thousand|million|billion|trillion|mn|bn|k)(?![a-z]))?
    \s?(?P<unit>%|°|[a-z]+)?\.?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with what it counts.

    Attributes:
        value: The number as it is written, scale words applied; exact.
        unit: Spelling of the unit, one of those known, or ``""``.
    """

    value: Fraction
    unit: str = ""

    @property
    def kind(self) -> str:
        """What the unit measures, or ``""``."""
        return _UNITS[self.unit][0] if self.unit else ""

    @property
    def base(self) -> Fraction:
        """The value in the base unit of its kind (metre, kilogram, second, ...)."""
        return self.value * (_UNITS[self.unit][1] if self.unit else 1)


def parse_quantity(text: str, counted: frozenset[str] = frozenset()) -> Quantity | None:
    """Return the number that the whole of ``text`` is, or ``None``.

    ::

        parse_quantity("1,234.5 km")  # Quantity(Fraction(2469, 2), "km")
        parse_quantity("1 1/2")       # Quantity(Fraction(3, 2))
        parse_quantity("about 5")     # None: the whole text must be a number

    Args:
        text: The text, in lower case.
        counted: Words that may stand behind the number and mean nothing, such as what was asked
            for ("3 dogs").
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    head, _, rest = text.partition(" ")
    word = NUMBER_WORDS.get(head)
    found = _NUMBER.fullmatch(f"{word} {rest}".strip() if word is not None else text)
    if found is None:
        first, *words = text.split()
        return parse_quantity(first) if words and counted.issuperset(words) else None
    value = _value(found)
    unit = found["money"] or found["unit"] or ""
    if value is None or (unit not in _UNITS and unit not in counted and unit):
        return None
    return Quantity(value, unit if unit in _UNITS else "")


def _value(found: re.Match[str]) -> Fraction | None:
    if found["above"]:
        below = int(found["below"])
        if not below:
            return None
        value = Fraction(int(found["whole"] or 0)) + Fraction(int(found["above"]), below)
    else:
        value = Fraction(found["digits"].replace(",", "").rstrip(".") or "0")
    value *= _SCALES.get(found["scale"] or "", 1)
    return -value if found["sign"] in {"-", "\u2212"} else value


def same_quantity(
    given: Quantity, truth: Quantity, *, tolerance: Fraction = Fraction(0), percent: bool = False
) -> bool:
    """Tell whether a number is the right one.

    A unit that one side leaves out is taken for the other's; units of one kind are converted;
    units of two kinds are different answers. Percent and its plain number are the same share
    (``50%`` and ``0.5``); ``50`` is taken for ``50%`` where the truth says percent, or, with
    ``percent``, the question does.

    Args:
        given: The answer's.
        truth: The right one.
        tolerance: Largest relative difference that still counts as equal.
        percent: The question asks for a percentage.
    """
    if given.kind == truth.kind:
        return _near(given.base, truth.base, tolerance)
    if given.kind and truth.kind:
        return False
    if "percent" in {given.kind, truth.kind}:
        share, plain = (given, truth) if given.kind else (truth, given)
        if _near(plain.value * 100, share.value, tolerance):
            return True
        return (truth.kind == "percent" or percent) and _near(given.value, truth.value, tolerance)
    return _near(given.value, truth.value, tolerance)


def _near(given: Fraction, truth: Fraction, tolerance: Fraction) -> bool:
    return abs(given - truth) <= tolerance * abs(truth)
