"""What a name that is not known may have been meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """What is most like a name that is not known, if anything is.

    Parameters
    ----------
    name : str
    known : iterable of str
        Names that there are.

    Returns
    -------
    list of str
        One name or none.

    Examples
    --------
    >>> nearest("--metod", ["--mask", "--method"]), nearest("hz", ["Hz", "rad"])
    (['--method'], ['Hz'])
    >>> nearest("--lambda", ["--mask", "--method"])
    []
    """
    by_letters = {_letters(other): other for other in known}
    return [by_letters[match] for match in get_close_matches(_letters(name), by_letters, n=1)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """End of a message about a name that is not known; empty where none is like it.

    Examples
    --------
    >>> suggestion("tdk", ["tkd", "medi"]), suggestion("magic", ["tkd", "medi"])
    ('; did you mean tkd?', '')
    """
    return "".join(f"; did you mean {match}?" for match in nearest(name, known))


def _letters(name: str) -> str:
    """What names are compared by: dashes, which all options have, are no likeness."""
    return name.removeprefix("--").casefold()
