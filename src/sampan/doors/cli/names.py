"""Names for containers whose user gave none: an adjective and something of a harbour."""

from __future__ import annotations

import os

_ADJECTIVES = """
    able agile amber brave bright brisk calm clear clever coral eager early fair fast fond fresh gentle glad golden
    grand green happy hardy keen kind light lively lucky merry mild neat nimble noble patient plain proud quick
    quiet rapid ready royal salty sharp silent silver smooth snug solid steady still sturdy sunny swift tidy true
    warm wise
"""
_NOUNS = """
    anchor barge beacon bay boat bow bridge buoy canal cargo coast compass crane current deck delta dock ferry fleet
    galley gull harbor haven hull jetty junk keel ketch lagoon lantern lighthouse lock lugger mast mooring oar pier
    pilot quay raft reef rigging river rudder sail schooner seal shore skiff sloop stern tide tug wave wharf yawl
"""


def new_name() -> str:
    """`swift_anchor_3f`: readable, and new in all likelihood."""
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    first, second, number = os.urandom(3)
    return f"{adjectives[first % len(adjectives)]}_{nouns[second % len(nouns)]}_{number:02x}"
