"""A parser whose refusals say what was meant: argparse's own, in words for people.

Each refusal begins with what happened, then shows the usage of the command and where its
help is. An argument may be a token typed at the wrong place, so no refusal repeats what
could be one.
"""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from ..given import nearest
from .console import complain

# Flags by which other programs take a token: --token, --tok, --api-key, --bearer …
_TOKEN_FLAG = re.compile(
    r"--?(tok|api-?key|key|bearer|auth|password|secret)", re.IGNORECASE
)
_FLAG = re.compile(r"-.")  # "-" alone is standard input
TOKENS_COME_FROM = (
    "tokens come from HINGFS_TOKEN or from --token-file FILE, never from an argument, "
    "since `ps` shows those to everybody"
)
# A flag of rclone, sshfs and other mounts -> the same here.
_ELSEWHERE = {
    "-v": "--log-level debug",
    "--verbose": "--log-level debug",
    "--debug": "--log-level debug",
    "-d": "--log-level debug",
    "-f": "--foreground",
    "--allow_other": "--allow-other",
}


class Parser(argparse.ArgumentParser):
    """A parser, also of commands, that refuses as above and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(
            **options,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    # argparse would leave the unknown arguments of a command to the parser above it.
    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: Any = None,  # noqa: ANN401
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but refuses unknown arguments."""
        parsed, extra = super().parse_known_args(args, namespace)
        if extra and not self._takes(extra, parsed):
            self.error(self._about(extra))
        return parsed, []

    def _takes(self, extra: Sequence[str], parsed: argparse.Namespace) -> bool:
        """Whether *extra* are more of what the command takes any number of.

        argparse takes only those before the first option, or between two.
        """
        for action in self._actions:
            if action.nargs == "*" and not any(map(_FLAG.match, extra)):
                getattr(parsed, action.dest).extend(extra)
                return True
        return False

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, then the usage; exit status 2."""
        complain(self._in_words(message))
        usage = self.format_usage().removeprefix("usage: ").strip()
        self.exit(2, f"  usage: {usage}\n  help:  {self.prog} --help\n")

    def _about(self, extra: Sequence[str]) -> str:
        """Why the *extra* arguments are refused."""
        flags = [word.partition("=")[0] for word in extra if word.startswith("-")]
        if any(_TOKEN_FLAG.match(flag) for flag in flags):
            return TOKENS_COME_FROM
        if flags:
            like = _ELSEWHERE.get(flags[0]) or nearest(
                flags[0], self._option_string_actions
            )
            meant = f"; did you mean {like}?" if like else ""
            return f"`{self.prog}` has no option {flags[0]}{meant}"
        takes = self._values()
        if not takes:
            return f"`{self.prog}` takes no argument, and got {len(extra)}"
        return (
            f"`{self.prog}` takes one {takes[0]}, and got {len(extra) + 1} arguments; put "
            "a name with blanks into quotes"
        )

    def _in_words(self, message: str) -> str:
        """*message* of argparse; the common ones in words of ours."""
        if found := re.search(r"arguments are required: (\S+)", message):
            name = found[1]
            if name == "COMMAND":
                return f"`{self.prog}` needs a command: {self._commands()}"
            kind = {"DIR": "directory"}.get(name, name.lower())
            return f"`{self.prog}` needs a {kind}: {name}"
        if found := re.match(r"argument (--\S+): expected one argument", message):
            metavar = self._option_string_actions[found[1]].metavar
            return f"{found[1]} needs a value: {found[1]} {metavar}"
        if found := re.match(r"argument (--\S+): ignored explicit argument", message):
            return f"{found[1]} takes no value"
        if found := re.search(r"argument COMMAND: invalid choice: '(.*?)'", message):
            like = nearest(found[1], self._commands().split(", "))
            meant = f"did you mean {like}?" if like else f"choose {self._commands()}"
            return f"there is no such command; {meant}"
        return message

    def _values(self) -> list[str]:
        return [
            str(action.metavar)
            for action in self._actions
            if not action.option_strings
            and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        ]

    def _commands(self) -> str:
        (action,) = (
            action
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        )
        return ", ".join(action.choices)
