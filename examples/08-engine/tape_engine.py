"""An engine for programs of the tape machine: eight instructions, one tape of bytes. Files begin with `#!tape`."""

import os

from sampan.engine.grants import Ending

MARK = b"#!tape"
INSTRUCTIONS = b"<>+-.,[]"
CELLS = 30_000


class TapeEngine:
    """What the entry point names. A jump is compiled to its target, so that no run looks for brackets."""

    version = "1"

    def handles(self, head, name):
        return head.startswith(MARK)

    def compile(self, source):
        code = bytes(byte for byte in source.partition(b"\n")[2] if byte in INSTRUCTIONS)
        matching_brackets(code)
        return code

    def load(self, code, entry, name):
        if entry:
            raise ValueError("a tape has no functions to choose from")
        return Program(code)


class Program:
    """A loaded program; `run` is called behind the walls, where no file can be opened and nothing be imported."""

    kind = "tape"

    def __init__(self, code):
        self.code, self.jumps = code, matching_brackets(code)

    def run(self, grants, on_bind=None):
        tape, at, here = bytearray(CELLS), 0, 0
        while here < len(self.code):
            match chr(self.code[here]):
                case "<":
                    at -= 1
                case ">":
                    at += 1
                case "+":
                    tape[at] = (tape[at] + 1) % 256
                case "-":
                    tape[at] = (tape[at] - 1) % 256
                case ".":
                    os.write(1, tape[at : at + 1])
                case ",":
                    tape[at] = ord(os.read(0, 1) or b"\0")
                case "[" if not tape[at]:
                    here = self.jumps[here]
                case "]" if tape[at]:
                    here = self.jumps[here]
            if not 0 <= at < CELLS:
                return Ending(134, "trap", f"the head left the tape at instruction {here}")
            here += 1
        return Ending(0, "exited")


def matching_brackets(code):
    """Each bracket's other one, by their places."""
    found, open_ones = {}, []
    for place, byte in enumerate(code):
        if byte == ord("["):
            open_ones.append(place)
        elif byte == ord("]"):
            if not open_ones:
                raise ValueError(f"the bracket at instruction {place} closes nothing")
            found[place] = open_ones.pop()
            found[found[place]] = place
    if open_ones:
        raise ValueError(f"the bracket at instruction {open_ones[-1]} is not closed")
    return found


engine = TapeEngine()
