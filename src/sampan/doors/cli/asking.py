"""Questions to a person at the terminal, with and without echo."""

from __future__ import annotations

import os
import sys

from sampan.core.errors import Invalid, Precondition, from_os_error


def ask(prompt: str) -> str:
    """A line from the person, who sees what is typed.

    Raises:
        Precondition: there is no terminal to ask at.
    """
    return _ask(prompt, hidden=False)


def ask_secret(prompt: str) -> str:
    """A line from the person, without echo.

    Raises:
        Precondition: there is no terminal to ask at.
    """
    return _ask(prompt, hidden=True)


def _ask(prompt: str, *, hidden: bool) -> str:
    import termios

    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise Precondition("there is no terminal to ask at", fix="use -u with --password-stdin") from error
    with open(fd, "rb+", buffering=0) as terminal:
        before = termios.tcgetattr(terminal)
        if hidden:
            quiet = [*before]
            quiet[3] = before[3] & ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
        try:
            terminal.write(prompt.encode())
            line = terminal.readline()
        finally:
            if hidden:
                termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
                terminal.write(b"\n")
    return _text(line)


def read_secret() -> str:
    """Everything on standard input, without the line end.

    Raises:
        Invalid: nothing, more than 64 KiB, or not text.
    """
    try:
        data = sys.stdin.buffer.read((64 << 10) + 1)
    except OSError as error:
        raise from_os_error(error, "read the password from standard input") from error
    if len(data) > 64 << 10:
        raise Invalid("the password on standard input is longer than 64 KiB")
    return _text(data)


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Invalid("what was entered is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def confirm(warning: str) -> bool:
    """Whether the person agrees, on standard input, to what `warning` says."""
    print(f"WARNING! {warning}")
    print("Are you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline(16).strip().lower() in ("y", "yes")
