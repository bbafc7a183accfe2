"""What callers may call an image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.images.names import is_id, names_of, pulled_name

DIGITS = "0123456789abcdef" * 4
DIGEST = f"sha256:{DIGITS}"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (DIGITS, True),
        (DIGEST, True),
        (DIGITS[:12], False),
        (f"app@{DIGEST}", False),
        (f"sha512:{DIGITS}", False),
        ("app", False),
        ("", False),
    ],
)
def test_an_id_is_64_digits(text: str, is_one: bool) -> None:
    assert is_id(text) is is_one


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app", "docker.io/library/app:latest"),
        ("team/app:v1", "docker.io/team/app:v1"),
        (f"app:v1@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        ("host.test:5000/app", "host.test:5000/app:latest"),
    ],
)
def test_a_pull_gives_a_full_name(text: str, name: str) -> None:
    assert str(pulled_name(text)) == name


def test_the_users_name_comes_first_and_ids_are_none() -> None:
    assert names_of(api.ImageSpec(image=DIGEST)) == []
    assert names_of(api.ImageSpec(image=DIGEST, user_specified_image="app")) == [
        "docker.io/library/app:latest"
    ]
    spec = api.ImageSpec(image=f"app@{DIGEST}", user_specified_image="app:v1")
    assert names_of(spec) == ["docker.io/library/app:v1", f"docker.io/library/app@{DIGEST}"]


@given(st.text(alphabet="ab0:/@.-_ A\n\u00e9", max_size=40))
def test_any_text_is_a_name_or_an_error_of_ours(text: str) -> None:
    try:
        name = str(pulled_name(text))
    except Invalid:
        return
    assert str(pulled_name(name)) == name
