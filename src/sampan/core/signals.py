"""Signal names and numbers: what `kill`, `--stop-signal` and image configurations spell."""

from __future__ import annotations

from sampan.core.errors import Invalid

_IN_ORDER = """
    HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP
    TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS
"""
NUMBERS = {name: number for number, name in enumerate(_IN_ORDER.split(), start=1)}
LAST = 64
FIRST_REAL_TIME = 34


def number_of(text: str) -> int:
    """The number of `TERM`, `SIGTERM`, `sigterm`, `15` or `RTMIN+3`.

    Raises:
        Invalid: no such signal, or a number outside 1..64.
    """
    name = text.upper().removeprefix("SIG")
    if name in NUMBERS:
        return NUMBERS[name]
    base, plus, offset = name.partition("+")
    if base == "RTMIN" and (not plus or (offset.isascii() and offset.isdigit())):
        number = FIRST_REAL_TIME + int(offset or 0)
        if number <= LAST:
            return number
    if text.isascii() and text.isdigit() and 1 <= int(text) <= LAST:
        return int(text)
    raise Invalid(f"{text[:40]!r} is not a signal", fix="name one like SIGTERM, TERM or 15")
