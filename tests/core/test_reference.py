import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.digest import digest_of, parse_digest
from sampan.core.errors import Invalid, SampanError
from sampan.core.reference import parse_reference

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("hello", "docker.io/library/hello", "hello"),
        ("hello:1.2", "docker.io/library/hello:1.2", "hello:1.2"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("index.docker.io/me/app", "docker.io/me/app", "me/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("example.com/a-b/c__d.e", "example.com/a-b/c__d.e", "example.com/a-b/c__d.e"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        (f"x@{SHA}", f"docker.io/library/x@{SHA}", f"x@{SHA}"),
        (f"x:1@{SHA}", f"docker.io/library/x:1@{SHA}", f"x:1@{SHA}"),
    ],
)
def test_references(text, whole, familiar):
    reference = parse_reference(text)
    assert (str(reference), reference.familiar) == (whole, familiar)
    assert parse_reference(whole) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":tag", "a//b", "/a", "a/", "A/b", "aB", "..", "a..b", "a___b", "-a", "a-", ".a", "a.", "x:", "x:-t",
        "x:" + "t" * 129,
        "a" * 256, "ä/b", "a/\uff42", "a b", "host:port/x", "host:99999/x", "host:/x", "-h.com/x", "x@sha256:ZZ",
        "x@sha256:" + "A" * 64, "x@md5:" + "a" * 32, "x@sha256:short", "a" * 64, "a\nb", "a\0b",
    ],
)  # fmt: skip
def test_R22_what_the_grammar_does_not_have_is_refused(text):
    with pytest.raises(Invalid):
        parse_reference(text)


@given(st.text(alphabet=string.ascii_letters + string.digits + ":/@._-[] é\n", max_size=40))
def test_R22_any_text_is_a_reference_that_prints_as_it_reads_or_an_error(text):
    try:
        reference = parse_reference(text)
    except SampanError:
        return
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["sha256:" + "0" * 63, "sha512:" + "0" * 64, "sha1:" + "0" * 40, "sha256", ":", "sha256:" + "G" * 64],
)
def test_R23_other_digests_are_refused(text):
    with pytest.raises(Invalid):
        parse_digest(text)


def test_digests_of_both_algorithms():
    for algorithm in ("sha256", "sha512"):
        digest = digest_of(b"x", algorithm)
        assert parse_digest(digest) == digest
        assert digest.algorithm == algorithm
