"""A pod's `command` that names a function: `command: ["greet"]` runs what the image's module exports under that name.

The rule: the first word of `command` has no slash and is no file of the image (where a file would be looked for), the
image has one module, and that exports a function of this name. Then `args` are the function's arguments (see
`engine/invocation`). The image's one module is the one that its own entry point names, else its only Wasm file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.container.finding import open_in_bundle
from sampan.core.errors import SampanError
from sampan.core.spec.runtime import Process, Root, Spec
from sampan.image.component import exported_functions
from sampan.linux.files import read_all

if TYPE_CHECKING:
    from sampan.doors.cri.images.documents import ImageForPod

MAGIC = b"\0asm"
MOST_FILES = 10_000
MOST_MODULE = 1 << 28


def with_export(spec: Spec, command: list[str], image: ImageForPod) -> Spec:
    """The spec with `/module.wasm#greet` in place of `greet`, where the rule above applies; else as it is."""
    process = spec.process or Process()
    if not command or not command[0] or "/" in command[0] or _is_file(spec, process.args[:1], image):
        return spec
    module = _only_module(spec, image)
    if not module or command[0] not in _functions(spec, module, image):
        return spec
    return spec.replace(process=process.replace(args=[f"{module}#{command[0]}", *process.args[1:]]))


def _only_module(spec: Spec, image: ImageForPod) -> str:
    """The path in the image of its one module, "" where there is none or more of them."""
    if len(image.modules) == 1:
        return image.modules[0]
    words = [*image.entrypoint, *image.command][:1]
    if words and _head(spec, words, image) == MAGIC:
        return words[0].partition("#")[0]
    found = _wasm_files(image.rootfs)
    return found[0] if len(found) == 1 else ""


def _wasm_files(rootfs: str) -> list[str]:
    """The Wasm files of unpacked layers, as paths in the image; none where there are too many files to look at."""
    found, seen = [], 0
    for folder, _, names in os.walk(rootfs):
        for name in names:
            seen += 1
            if seen > MOST_FILES:
                return []
            path = f"{folder}/{name}"
            if _begins_as_wasm(path):
                found.append(path.removeprefix(rootfs))
    return found


def _begins_as_wasm(path: str) -> bool:
    try:
        if not os.path.isfile(path) or os.path.islink(path):
            return False
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _functions(spec: Spec, module: str, image: ImageForPod) -> list[str]:
    fd = _open(spec, [module], image)
    if fd < 0:
        return []
    try:
        return exported_functions(read_all(fd, MOST_MODULE))
    except (OSError, SampanError):  # what is wrong with it is told when it is loaded
        return []
    finally:
        os.close(fd)


def _is_file(spec: Spec, words: list[str], image: ImageForPod) -> bool:
    return _head(spec, words, image) is not None


def _head(spec: Spec, words: list[str], image: ImageForPod) -> bytes | None:
    """The first bytes of the file that a word names in the container; None where there is none."""
    fd = _open(spec, words, image)
    if fd < 0:
        return None
    try:
        return os.pread(fd, len(MAGIC), 0)
    finally:
        os.close(fd)


def _open(spec: Spec, words: list[str], image: ImageForPod) -> int:
    process = (spec.process or Process()).replace(args=words)
    return open_in_bundle(spec.replace(process=process, root=Root(image.rootfs)), "/")
