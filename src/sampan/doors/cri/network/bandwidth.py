"""A pod's limits of bandwidth, which Kubernetes puts into annotations: `kubernetes.io/ingress-bandwidth: 10M`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from sampan.core.errors import Invalid

ANNOTATIONS = {"ingress": "kubernetes.io/ingress-bandwidth", "egress": "kubernetes.io/egress-bandwidth"}
LEAST, MOST = 1000, 10**15  # bits a second; the bounds that a kubelet has
BURST = (1 << 32) - 1
_QUANTITY = re.compile(
    r"\+?([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE]([+-]?[0-9]{1,2})|([kMGTPE]|[KMGTPE]i|m)?)"
)
_SCALES = {"": Decimal(1), "m": Decimal("0.001")} | {
    name: Decimal(base) ** power
    for suffix, base, first in (("", 1000, "k"), ("i", 1024, "K"))
    for power, letter in enumerate(f"{first}MGTPE", 1)
    for name in (letter + suffix,)
}


def bandwidth_of(annotations: Mapping[str, str]) -> dict[str, int]:
    """The value of CNI's capability `bandwidth`: rates and bursts in bits; empty without limits.

    Raises:
        Invalid: a limit is no quantity, or out of bounds.
    """
    found = {}
    for way, annotation in ANNOTATIONS.items():
        if annotation in annotations:
            found[f"{way}Rate"] = _rate(annotations[annotation], annotation)
            found[f"{way}Burst"] = BURST
    return found


def _rate(text: str, annotation: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise Invalid(f"the annotation {annotation} is no quantity: {text[:40]!r}", fix="write it like 10M")
    number, exponent, suffix = match.groups()
    scale = Decimal(10) ** int(exponent) if exponent else _SCALES[suffix or ""]
    rate = Decimal(number) * scale
    if not LEAST <= rate <= MOST:
        raise Invalid(f"the annotation {annotation} is not from 1k to 1P: {text[:40]!r}")
    return int(rate)
