"""The one question that every door asks: is this WebAssembly, and which kind, or a Linux program?

Content decides; names, the executable bit and a leading slash do not. Pure: the caller gathers the clues.
Refuses nothing: what nobody can run gets the verdict "unknown" and a sentence on what its bytes look like.
Binary formats: WebAssembly core specification, "Binary Format/Modules"; component model, `Binary.md`.
"""

from __future__ import annotations

from sampan.core.record import Record

MAGIC = b"\0asm"
HANDLER = "run.oci.handler"
VARIANT = "module.wasm.image/variant"
WASM_HANDLERS = frozenset({"wasm", "wasm-smart", "sampan", "wasmtime", "wasmedge", "wasmer", "wamr"})
SANDBOX_KEYS = {  # who says "this is the pause container", and how
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri-o.ContainerType": "sandbox",
    "io.kubernetes.docker.type": "podsandbox",
}
WASM_MEDIA_TYPES = frozenset(
    {
        "application/wasm",
        "application/vnd.wasm.config.v0+json",
        "application/vnd.wasm.config.v1+json",
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    }
)
WASM_SYSTEMS = frozenset({"wasi", "wasip1", "wasip2"})
WASM_ARCHITECTURES = frozenset({"wasm", "wasm32", "wasm64"})


class Clues(Record):
    """What a door knows of a workload.

    Attributes:
        handler: what the user asked for by a flag; "" when nothing. `annotations`: the container's.
        media_type: of the artifact's layer or config. `os`, `architecture`: of the image's configuration.
        head: the first bytes of the file (64 suffice; more make a better answer for text), None when it cannot
            be read. name: how the user or the image names the file.
        allow_text: whether the text format counts (a `.wat` file on the command line, nowhere else).
    """

    handler: str = ""
    annotations: dict[str, str] = {}
    media_type: str = ""
    os: str = ""
    architecture: str = ""
    head: bytes | None = None
    name: str = ""
    allow_text: bool = False


class Verdict(Record):
    """`kind` is module, component, linux or unknown.

    `evidence` has one sentence for each rule that was asked, in order; the last one decided.
    """

    kind: str
    evidence: list[str] = []

    @property
    def is_wasm(self) -> bool:
        return self.kind in ("module", "component")


def detect(clues: Clues) -> Verdict:
    """The verdict on a workload; the first rule that matches decides."""
    evidence: list[str] = []
    for rule in (_handler, _sandbox, _declared, _linux_content, _wasm_content, _text, _variant):
        kind, sentence = rule(clues)
        evidence.append(sentence)
        if kind:
            return Verdict(kind, evidence)
    if clues.head is None:
        return Verdict("linux", [*evidence, "nothing says that it is WebAssembly, so it is taken for Linux"])
    return Verdict("unknown", [*evidence, f"its content is {_looks_like(clues.head)}"])


def _handler(clues: Clues) -> tuple[str, str]:
    asked, where = clues.handler, "the handler flag"
    if not asked:
        asked, where = clues.annotations.get(HANDLER, ""), f"the annotation {HANDLER}"
    if not asked:
        return "", f"no handler is asked for, by flag or by {HANDLER}"
    if asked not in WASM_HANDLERS:
        return "linux", f"{where} asks for {asked!r}, which is no WebAssembly handler"
    if where != "the handler flag" and _sandbox(clues)[0]:
        return "", f"{where} asks for {asked!r}, but pods hand it on to their sandbox"
    return _wasm(clues, f"{where} asks for {asked!r}")


def _sandbox(clues: Clues) -> tuple[str, str]:
    for key, value in SANDBOX_KEYS.items():
        if clues.annotations.get(key) == value:
            return "linux", f"the annotation {key} says that it is a pod's sandbox, which is a Linux program"
    return "", "no annotation says that it is a pod's sandbox"


def _declared(clues: Clues) -> tuple[str, str]:
    media_type = clues.media_type.partition(";")[0].strip().lower()
    if media_type in WASM_MEDIA_TYPES:
        return _wasm(clues, f"the media type is {media_type}")
    if clues.os in WASM_SYSTEMS or clues.architecture in WASM_ARCHITECTURES:
        return _wasm(clues, f"the image is for {clues.os or '?'}/{clues.architecture or '?'}")
    platform = f"{clues.os}/{clues.architecture}" if clues.os or clues.architecture else "no platform"
    return "", f"the image names {platform} and {media_type or 'no media type'}, neither is WebAssembly's"


def _wasm(clues: Clues, sentence: str) -> tuple[str, str]:
    """Module or component, where something outside of the content says that it is WebAssembly."""
    if clues.head is None:
        kind = "component" if clues.os == "wasip2" or "component" in clues.media_type else "module"
        return kind, f"{sentence}; its content cannot be read, so it is taken for a {kind}"
    kind, seen = _wasm_content(clues)
    if not kind:
        kind, seen = _text(clues)
    if not kind:
        return "unknown", f"{sentence}, but its content is {_looks_like(clues.head)}"
    return kind, f"{sentence}, and {seen}"


def _linux_content(clues: Clues) -> tuple[str, str]:
    head = clues.head
    if head is None:
        return "", "the file cannot be read"
    if head.startswith(b"\x7fELF"):
        if _is_compiled_wasm(head):
            return "unknown", f"its content is {_looks_like(head)}"
        return "linux", "it starts with ELF's magic number"
    if head.startswith(b"#!"):
        return "linux", "it starts with #!, so it is a script"
    return "", "it starts neither with ELF's magic number nor with #!"


def _wasm_content(clues: Clues) -> tuple[str, str]:
    head = clues.head or b""
    if not head.startswith(MAGIC):
        return "", r"it does not start with WebAssembly's magic number (\0asm)"
    version, layer = head[4:6], head[6:8]
    if version == b"\1\0" and layer == b"\0\0":
        return "module", r"it starts with \0asm and version 1: a module"
    if layer == b"\1\0":
        return "component", r"it starts with \0asm and layer 1: a component"
    return "unknown", rf"it starts with \0asm, but {head[4:8].hex() or 'no version'} is no known version"


def _text(clues: Clues) -> tuple[str, str]:
    if not clues.allow_text:
        return "", "the text format counts for a file on the command line only"
    start = _first_form(clues.head or b"")
    if start == "(module":
        return "module", "it is a module in the text format"
    if start == "(component":
        return "component", "it is a component in the text format"
    return "", "it is not in the text format"


def _variant(clues: Clues) -> tuple[str, str]:
    variant = clues.annotations.get(VARIANT, "")
    if clues.head is not None:
        return "", f"the annotation {VARIANT} counts only where the content cannot be read"
    if variant == "compat" or (variant == "compat-smart" and clues.name.endswith((".wasm", ".wat"))):
        return "module", f"the annotation {VARIANT} is {variant!r}"
    return "", f"no annotation {VARIANT} says that {clues.name or 'it'} is WebAssembly"


def _first_form(head: bytes) -> str:
    """`(module` or `(component` when that is what text starts with, after spaces and comments; else ""."""
    text = _decoded(head)
    while True:
        text = text.lstrip()
        if text.startswith(";;"):
            text = text.partition("\n")[2]
        elif text.startswith("(;"):
            text = text.partition(";)")[2]
        else:
            break
    for form in ("(module", "(component"):
        if text.startswith(form) and not (text[len(form) :] or " ")[0].isalnum():
            return form
    return ""


def _decoded(head: bytes) -> str:
    """The head as text, up to a character that is cut off at its end; "" when it is not UTF-8."""
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        return head[: error.start].decode() if error.start >= len(head) - 3 else ""


def _is_compiled_wasm(head: bytes) -> bool:
    """Whether ELF is the engine's own form of compiled code: its OS/ABI byte is 200."""
    return head[7:8] == b"\xc8"


_FORMATS = [
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"MZ", "a Windows program"),
    (b"\xca\xfe\xba\xbe", "a Java class or a macOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"%PDF", "a PDF document"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"!<arch>", "a static library"),
]


def _looks_like(head: bytes) -> str:
    """What some bytes look like, for a person."""
    if not head:
        return "empty"
    for magic, name in _FORMATS:
        if head.startswith(magic):
            return name
    if head.startswith(b"\x7fELF"):
        if _is_compiled_wasm(head):
            return "code that an engine compiled ahead of time, which is never loaded from outside"
        return "a Linux program (ELF)"
    if head.startswith(b"#!"):
        return "a script"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, as a server sends it for an error"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _first_form(head):
        return "WebAssembly's text format (.wat), which only the command line reads"
    text = _decoded(head)
    if text and all(c >= " " or c in "\t\r\n\f\x1b" for c in text):
        return "text, with neither #! nor WebAssembly in it"
    return f"of no known format (it starts with {head[:8].hex(' ')})"
