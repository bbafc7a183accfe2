"""What systemd is told."""

from __future__ import annotations

import os
import socket

import pytest

from sampan.daemon import notify


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_a_state_is_told_to_whoever_asked(kind, tmp_path, monkeypatch):
    name = f"sampan-test-{os.urandom(4).hex()}"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if kind == "abstract" else str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if kind == "abstract" else str(tmp_path / "n"))
        notify.tell(notify.READY)
        notify.tell(notify.STOPPING)
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", [None, "", "relative", "/none/there"])
def test_where_nobody_listens_nothing_happens(address, monkeypatch):
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.tell(notify.READY)
