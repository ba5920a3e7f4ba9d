"""Numbers as a reader wants them, in claims and in evidence alike."""

import math


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MANY = 1e6  # times: from here on the power of ten says it all


def number(x: float | None, *, percent: bool = False) -> str:
    """A number as a reader wants it: three digits, powers of ten where they help."""
    if x is None:
        return "–"
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if percent:
        if 0.9995 <= x < 1 or 0 < x < 0.0005:
            return "> 99.9 %" if x > 0.5 else "< 0.1 %"
        digits = 0 if abs(100 * x - round(100 * x)) < 1e-9 else 1
        return f"{100 * x:.{digits}f} %".replace("-", "−")
    if x == int(x) and abs(x) < 1e6:
        return f"{int(x)}".replace("-", "−")
    if 1e-3 <= abs(x) < 1e5:
        short = f"{x:.3g}"
        return (f"{x:.0f}" if "e" in short else short).replace("-", "−")
    mantissa, exponent = f"{x:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPT)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def share(x: float, whole: str) -> str:
    """A part of something, or a multiple: "34% of its length", "10¹² times its length"."""
    if not math.isfinite(x):
        return f"more than any number times {whole}"
    if abs(x) >= MANY:
        power = str(math.floor(math.log10(abs(x)))).translate(SUPERSCRIPT)
        return f"{'−' if x < 0 else ''}10{power} times {whole}"
    if abs(x) >= 10:
        return f"{number(x)} times {whole}"
    return f"{x:.0%} of {whole}" if abs(x) >= 0.01 else f"{number(x)} of {whole}"
