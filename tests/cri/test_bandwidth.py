"""Limits of bandwidth in annotations: the quantities of Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.doors.cri.network.bandwidth import ANNOTATIONS, BURST, bandwidth_of

INGRESS, EGRESS = ANNOTATIONS["ingress"], ANNOTATIONS["egress"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1000", 1000),
        ("10k", 10_000),
        ("10M", 10_000_000),
        ("1.5G", 1_500_000_000),
        (".5M", 500_000),
        ("1P", 10**15),
        ("10Ki", 10_240),
        ("1Mi", 1 << 20),
        ("1Gi", 1 << 30),
        ("1e6", 10**6),
        ("1E6", 10**6),
        ("+25000e-1", 2500),
        ("2000000m", 2000),
    ],
)
def test_a_quantity_is_a_rate_in_bits(text, rate):
    assert bandwidth_of({INGRESS: text}) == {"ingressRate": rate, "ingressBurst": BURST}


def test_each_way_has_its_own_limit():
    assert bandwidth_of({EGRESS: "2M", INGRESS: "1M", "other": "x"}) == {
        "ingressRate": 10**6,
        "ingressBurst": BURST,
        "egressRate": 2 * 10**6,
        "egressBurst": BURST,
    }
    assert bandwidth_of({}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "M",
        "10 M",
        "10m",
        "999",
        "2P",
        "1e99",
        "-1M",
        "0x10",
        "1KB",
        "1ki",
        "inf",
        "1_000",
        "\u0661M",
    ],
)
def test_what_is_no_such_quantity_is_refused_by_the_name_of_the_annotation(text):
    with pytest.raises(Invalid, match=EGRESS):
        bandwidth_of({EGRESS: text})


@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,12}[eEkKMGTPim]{0,3}[0-9]{0,3}", fullmatch=True))
def test_any_text_is_a_rate_in_bounds_or_refused(text):
    try:
        found = bandwidth_of({INGRESS: text})
    except Invalid:
        return
    assert 1000 <= found["ingressRate"] <= 10**15
