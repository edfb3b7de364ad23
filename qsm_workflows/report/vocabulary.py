"""How methods, regions and coverages are called on the page and in figures."""

import math
from collections.abc import Iterable

METHOD_NAMES = {
    "tkd": "TKD",
    "tsvd": "TSVD",
    "l2": "L2",
    "ilsqr": "iLSQR",
    "medi": "MEDI",
    "tv": "TV",
    "rts": "RTS",
    "ndi": "NDI",
    "star": "STAR-QSM",
    "lnqsm": "LN-QSM",
    "tfi": "total-field MEDI",
    "xqsmindividual": "xQSM-Individual",
    "xqsmcropped": "xQSM-Cropped",
    "deepqsm": "DeepQSM",
    "xqsm": "xQSM",
    "unet": "U-net",
    "ir2qsm": "IR2QSM",
    "lpcnn": "LPCNN",
}
"""Inversions in the order in which they are shown."""

REGION_ABBREVIATIONS = {
    "pallidum": "GP",
    "putamen": "PU",
    "caudate": "CN",
    "thalamus": "TH",
    "red_nucleus": "RN",
    "substantia_nigra": "SN",
    "dentate": "DN",
    "optic_radiation": "OR",
}
"""Regions in the order in which they are shown; others follow by name."""

DEEP_GREY = ("pallidum", "putamen", "caudate")
"""Regions that coverage is judged by."""

ORDERS = ("B+T", "T+B", "full")

ORDER_NAMES = {
    "B+T": "B+T: background removed from the whole head, then truncated",
    "T+B": "T+B: truncated as a scanner would, then background removed from the slab",
    "full": "Whole image, no truncation",
}


def method_name(method: str) -> str:
    """Name of an inversion as its authors write it."""
    return METHOD_NAMES.get(method, method)


def region_name(region: str) -> str:
    """Name of a region with its abbreviation.

    Examples
    --------
    >>> region_name("red_nucleus"), region_name("csf")
    ('red nucleus (RN)', 'csf')
    """
    abbreviation = REGION_ABBREVIATIONS.get(region)
    words = region.replace("_", " ")
    return f"{words} ({abbreviation})" if abbreviation else words


def coverage_name(percent: float) -> str:
    """Coverage in percent, or ``full`` where nothing was cut.

    Examples
    --------
    >>> coverage_name(112.5), coverage_name(math.inf)
    ('112.5 %', 'full')
    """
    return f"{percent:g} %" if math.isfinite(percent) else "full"


def listing(parts: Iterable[str], separator: str = ", ") -> str:
    """Parts as an English enumeration.

    Examples
    --------
    >>> listing(["a"]), listing(["a", "b", "c"]), listing(["a, b", "c"], "; ")
    ('a', 'a, b and c', 'a, b; and c')
    """
    *first, last = parts
    if not first:
        return last
    pause = "" if separator == ", " else separator.strip()
    return f"{separator.join(first)}{pause} and {last}"


def short_listing(parts: Iterable[str], most: int = 8) -> str:
    """Enumeration, of which a long one is cut short.

    Examples
    --------
    >>> short_listing("abc", 3), short_listing("abcd", 3)
    ('a, b and c', 'a, b and 2 more')
    """
    parts = list(parts)
    if len(parts) > most:
        parts = [*parts[: most - 1], f"{len(parts) - most + 1} more"]
    return listing(parts)


def sort_methods(methods: Iterable[str]) -> list[str]:
    """Methods without repetition, in the order in which they are shown."""
    return _sort(methods, METHOD_NAMES)


def sort_regions(regions: Iterable[str]) -> list[str]:
    """Regions without repetition, in the order in which they are shown."""
    return _sort(regions, REGION_ABBREVIATIONS)


def sort_orders(orders: Iterable[str]) -> list[str]:
    """Orders of processing without repetition, in the order in which they are shown."""
    return _sort(orders, ORDERS)


def _sort(names: Iterable[str], known: Iterable[str]) -> list[str]:
    ranks = {name: rank for rank, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (ranks.get(name, len(ranks)), name))
