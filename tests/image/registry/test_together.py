"""Several processes at one store, and processes that are killed (rows R28 and F8)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from sampan.core.digest import digest_of
from sampan.testing.registry import Fault, Registry

from .conftest import User

LAYERS = [os.urandom(900_000), os.urandom(400_000), b"small"]

PULL = """
import sys
from sampan.core.reference import parse_reference
from sampan.image.registry import transfer
from sampan.image.registry.credentials import Credentials
from sampan.image.registry.settings import Settings
from sampan.image.store import ContentStore

def pull(name, folder):
    with transfer.Registry(Settings(), Credentials([])) as registry:
        registry.pull(parse_reference(name), ContentStore(folder))
"""

KILL_AT_EVERY_EVENT = (
    PULL
    + """
import os, signal
import httpx2, hashlib, fcntl, threading, ssl

WATCHED = ("open", "os.", "fcntl.", "socket.")

def killed_at(event, name, folder):
    '''Whether a pull was killed at its so manieth system event; false when it ended before.'''
    child = os.fork()
    if child == 0:
        left = event
        def count(what, _):
            nonlocal left
            if what.startswith(WATCHED):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        try:
            pull(name, folder)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert status == 0, "the pull failed"
    return False

name, folder, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
event = step
while killed_at(event, name, f"{folder}/{event}"):
    assert not killed_at(0, name, f"{folder}/{event}")
    event += step
print(event)
"""
)


def python(code: str, *args: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([*(p for p in sys.path if p), ""])
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_R28_two_processes_pull_at_once_and_one_is_killed(user: User, registry: Registry) -> None:
    image = registry.add_image("team/app", "v1", LAYERS)
    registry.fault(Fault(digest_of(LAYERS[0]), "GET", times=1, pause=0.1))
    code = PULL + "pull(*sys.argv[1:])"
    args = (f"{registry.host}/team/app:v1", user.store.folder)
    first = python(code, *args)
    while not registry.seen("GET", digest_of(LAYERS[0])):
        assert first.poll() is None, first.communicate()
    second = python(code, *args)
    part = Path(user.store.folder, "ingest", "sha256-" + digest_of(LAYERS[0]).hex)
    while not (part.exists() and part.stat().st_size >= 200_000):
        assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, said = second.communicate(timeout=30)
    assert second.returncode == 0, said
    assert list(user.store.names().values()) == [image]
    assert [user.blob(digest_of(layer)) for layer in LAYERS] == LAYERS
    assert not part.exists()


def test_R28_many_pulls_at_once_fetch_each_blob_once(user: User, registry: Registry) -> None:
    registry.add_image("team/app", "v1", LAYERS)
    code = PULL + "pull(*sys.argv[1:])"
    pulls = [python(code, f"{registry.host}/team/app:v1", user.store.folder) for _ in range(4)]
    for process in pulls:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    for layer in LAYERS:
        assert len(registry.seen("GET", digest_of(layer))) == 1


def test_F8_a_pull_killed_anywhere_is_finished_by_the_next(tmp_path: Path, registry: Registry) -> None:
    """Killed at every fifteenth system event; `SAMPAN_SWEEP=full` kills at each."""
    step = 1 if os.environ.get("SAMPAN_SWEEP") == "full" else 15
    image = registry.add_image("team/app", "v1", LAYERS)
    name = f"{registry.host}/team/app:v1"
    process = python(KILL_AT_EVERY_EVENT, name, str(tmp_path / "stores"), str(step))
    said, wrong = process.communicate(timeout=110 if step > 1 else 3000)
    assert process.returncode == 0, wrong
    events = range(step, int(said), step)
    assert len(events) > 4
    for event in events:
        user = User(tmp_path / "user")
        user.store = type(user.store)(str(tmp_path / "stores" / str(event)))
        assert user.store.names() == {name: image}
        assert [user.blob(digest_of(layer)) for layer in LAYERS] == LAYERS
        assert os.listdir(f"{user.store.folder}/ingest") == []
        user.store.prune(grace=0.0)
        assert user.store.names() == {name: image}
        assert os.listdir(f"{user.store.folder}/leases") == []
