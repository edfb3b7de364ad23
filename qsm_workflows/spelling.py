"""What a name that is not known may have been meant to be."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Generic, NoReturn, TypeVar

Thing = TypeVar("Thing")


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


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Error of a name that is not known, which tells those that are.

    Parameters
    ----------
    kind : str
        What it should be the name of.
    name : str
    known : iterable of str
        Names that there are.

    Examples
    --------
    >>> str(unknown("method", "MEDI", ["tkd", "medi"]))
    "unknown method 'MEDI'; there are tkd, medi; did you mean medi?"
    """
    names = list(known)
    return ValueError(
        f"unknown {kind} {name!r}; there are {', '.join(names)}{suggestion(name, names)}"
    )


class Named(dict[str, Thing], Generic[Thing]):
    """Things by name, where the error of a name that is not known is :func:`unknown`.

    Parameters
    ----------
    kind : str
        What each is.
    things : mapping
    """

    def __init__(self, kind: str, things: Mapping[str, Thing]) -> None:
        super().__init__(things)
        self.kind = kind

    def __missing__(self, name: str) -> NoReturn:
        raise unknown(self.kind, name, self)


def _letters(name: str) -> str:
    """What names are compared by: dashes, which all options have, are no likeness."""
    return name.removeprefix("--").casefold()
