"""The verdicts of `sampan.core.detect`, rule by rule in their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.detect import Clues, detect

MODULE = b"\0asm\1\0\0\0"
COMPONENT = b"\0asm\x0d\0\1\0"
ELF = b"\x7fELF\2\1\1\0" + bytes(56)
SANDBOX = {"io.kubernetes.cri.container-type": "sandbox"}


@pytest.mark.parametrize(
    ("clues", "kind"),
    [
        (Clues(head=MODULE), "module"),
        (Clues(head=COMPONENT), "component"),
        (Clues(head=MODULE, name="no-suffix-at-all"), "module"),
        (Clues(head=ELF), "linux"),
        (Clues(head=ELF, name="app.wasm"), "linux"),
        (Clues(head=b"#!/bin/sh\n"), "linux"),
        (Clues(), "linux"),
        (Clues(os="linux", architecture="amd64"), "linux"),
        (Clues(os="linux", architecture="amd64", head=MODULE), "module"),
        # the handler comes first
        (Clues(handler="wasm", head=MODULE), "module"),
        (Clues(handler="wasmtime", head=COMPONENT), "component"),
        (Clues(handler="wasm"), "module"),
        (Clues(handler="wasm", annotations=SANDBOX), "module"),
        (Clues(handler="wasm", head=ELF), "unknown"),
        (Clues(handler="runc", head=MODULE), "linux"),
        (Clues(annotations={"run.oci.handler": "wasm"}), "module"),
        (Clues(annotations={"run.oci.handler": "wasm"}, head=COMPONENT), "component"),
        (Clues(annotations={"run.oci.handler": "krun"}, head=MODULE), "linux"),
        # a pod's annotations reach its pause container too
        (Clues(annotations={"run.oci.handler": "wasm", **SANDBOX}, head=ELF), "linux"),
        # the sandbox comes before the content
        (Clues(annotations=SANDBOX, head=MODULE), "linux"),
        (Clues(annotations={"io.kubernetes.cri-o.ContainerType": "sandbox"}), "linux"),
        (Clues(annotations={"io.kubernetes.cri.container-type": "container"}, head=MODULE), "module"),
        # what the image declares
        (Clues(media_type="application/wasm"), "module"),
        (Clues(media_type="Application/Wasm; charset=x", head=COMPONENT), "component"),
        (Clues(media_type="application/vnd.wasm.content.layer.v1+wasm"), "module"),
        (Clues(os="wasip2", architecture="wasm"), "component"),
        (Clues(os="wasip1", architecture="wasm"), "module"),
        (Clues(os="wasi", architecture="wasm32", head=MODULE), "module"),
        (Clues(os="wasip1", architecture="wasm", head=COMPONENT), "component"),
        (Clues(media_type="application/wasm", head=b"\x1f\x8b\x08"), "unknown"),
        # old annotations count only where nothing can be read
        (Clues(annotations={"module.wasm.image/variant": "compat"}), "module"),
        (Clues(annotations={"module.wasm.image/variant": "compat"}, head=ELF), "linux"),
        (Clues(annotations={"module.wasm.image/variant": "compat-smart"}, name="/a.wasm"), "module"),
        (Clues(annotations={"module.wasm.image/variant": "compat-smart"}, name="/bin/sh"), "linux"),
        # text
        (Clues(head=b"(module)", allow_text=True), "module"),
        (Clues(head=b"(module)"), "unknown"),
        (Clues(head=b" \n;; hi\n(; (component ;) (component $x", allow_text=True), "component"),
        (Clues(head=b"(modules)", allow_text=True), "unknown"),
        (Clues(head=b"(module", allow_text=True), "module"),
    ],
)
def test_verdict(clues: Clues, kind: str) -> None:
    verdict = detect(clues)
    assert verdict.kind == kind, verdict.evidence
    assert verdict.is_wasm == (kind in ("module", "component"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\3\4", "zip"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"<HTML>", "HTML"),
        (b"echo hello\n", "text"),
        (b"(module)", ".wat"),
        (b"\0as", "no known format"),
        (b"\0asm", "no version"),
        (b"\0asm\2\0\0\0", "02000000"),
        (b"\0asm\1\0\7\0", "no known version"),
        (b"\x7fELF\2\1\1\xc8" + bytes(50), "ahead of time"),
        (bytes(257) + b"ustar\x0000", "tar archive"),
        (b"BC\xc0\xde", "LLVM"),
        (b"\x80\x81\x82", "80 81 82"),
    ],
)
def test_W2_junk_is_unknown_and_described(head: bytes, words: str) -> None:
    verdict = detect(Clues(head=head))
    assert verdict.kind == "unknown"
    assert words in verdict.evidence[-1]


def test_evidence_tells_the_rules_that_did_not_match() -> None:
    evidence = detect(Clues(head=MODULE)).evidence
    assert len(evidence) == 5
    assert "no handler" in evidence[0]
    assert "sandbox" in evidence[1]
    assert "neither is WebAssembly's" in evidence[2]
    assert "neither with ELF" in evidence[3]
    assert "a module" in evidence[4]


@given(
    st.builds(
        Clues,
        handler=st.sampled_from(["", "wasm", "runc"]),
        annotations=st.dictionaries(
            st.sampled_from(["run.oci.handler", "module.wasm.image/variant", *SANDBOX]),
            st.sampled_from(["wasm", "compat", "compat-smart", "sandbox", "x"]),
        ),
        media_type=st.sampled_from(["", "application/wasm", "text/plain"]),
        os=st.sampled_from(["", "linux", "wasip2"]),
        head=st.one_of(st.none(), st.binary(max_size=80), st.binary(max_size=9).map(lambda b: b"\0asm" + b)),
        name=st.text(max_size=8),
        allow_text=st.booleans(),
    )
)
def test_every_clue_gets_a_verdict_with_evidence(clues: Clues) -> None:
    verdict = detect(clues)
    assert verdict.kind in ("module", "component", "linux", "unknown")
    assert verdict.evidence
    assert all(sentence.isprintable() for sentence in verdict.evidence[-1:]) or clues.name
    if verdict.is_wasm and clues.head is not None and not clues.allow_text:
        assert clues.head.startswith(b"\0asm")
