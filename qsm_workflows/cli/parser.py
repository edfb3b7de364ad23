"""Parser of all commands: short errors, which tell what may have been meant."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from qsm_workflows.spelling import nearest, suggestion


class Parser(argparse.ArgumentParser):
    """Reports an error in two lines, with what is nearest to a name that it does not know."""

    command_key: Callable[[str], str] | None = None
    """What the command that comes first is looked up by, where it may be written in many ways."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does, but refuse what is left over."""
        given = list(sys.argv[1:] if args is None else args)
        if self.command_key is not None and given and not given[0].startswith("-"):
            given[0] = self.command_key(given[0])
        self._given = given
        namespace, unknown = super().parse_known_args(given, namespace)
        if unknown:
            # argparse leaves it to the parser of `qsm-wf`, which knows no option of a command.
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        # All that was given is looked at: misspelling a required option makes it a missing one.
        hints = "".join(
            f"; did you mean {match} instead of {option}?"
            for option in self._unknown_options()
            for match in nearest(option, self._option_string_actions)
        )
        self.exit(2, f"{self.prog}: error: {message}{hints}\nsee {self.prog} --help\n")

    def _unknown_options(self) -> list[str]:
        options = [word.split("=")[0] for word in self._given if word.startswith("--")]
        known = self._option_string_actions
        return [name for name in options if not any(option.startswith(name) for option in known)]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += suggestion(str(value), map(str, action.choices or ()))
            raise
