"""Mounts, in mount namespaces of forked children."""

from __future__ import annotations

import os
import signal
import time
from itertools import count

import pytest

from sampan.core.errors import Invalid, NotFound, Precondition, SampanError, Unimplemented
from sampan.linux import mountinfo, mountoptions, mounts, namespaces, syscalls
from sampan.linux.paths import make_dirs_in_root, open_in_root

ROUNDS = int(os.environ.get("SAMPAN_RACE_ROUNDS", "300"))
RENAME_EXCHANGE = 2


def private_world():
    """A mount namespace of our own, in a user namespace if need be."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        namespaces.unshare(namespaces.NEWNS)
    else:
        namespaces.unshare(namespaces.NEWUSER | namespaces.NEWNS)
        namespaces.map_user(uid, gid)
    mounts.make_private()


@pytest.fixture(params=["root", "user"])
def who(request, as_root, open_folder):
    return None if request.param == "root" else 65534


@pytest.fixture(params=["mount_setattr", "remount"])
def mechanism(request, monkeypatch):
    if request.param == "remount":
        call = syscalls.call

        def without(name, *args, **kwargs):
            if name == "mount_setattr":
                raise OSError(38, "Function not implemented")
            return call(name, *args, **kwargs)

        monkeypatch.setattr(syscalls, "call", without)


def can_write(folder):
    try:
        with open(f"{folder}/probe", "w"):
            pass
    except OSError as error:
        return error.errno
    os.unlink(f"{folder}/probe")
    return 0


def test_W16_a_read_only_bind_is_read_only_all_the_way_down(who, mechanism, in_child, tmp_path):
    def bind():
        os.makedirs(f"{tmp_path}/source/inner")
        os.mkdir(f"{tmp_path}/target")
        private_world()
        mounts.mount("tmpfs", f"{tmp_path}/source/inner", "tmpfs", options="size=64k,mode=777")
        mounts.bind(f"{tmp_path}/source", f"{tmp_path}/target", read_only=True)
        return [can_write(f"{tmp_path}/{d}") for d in ("target", "target/inner", "source", "source/inner")]

    assert in_child(bind, user=who) == [30, 30, 0, 0]


def test_a_writable_bind_and_a_file_on_a_file(who, in_child, tmp_path):
    def bind():
        for folder in ("source", "target"):
            os.mkdir(f"{tmp_path}/{folder}")
            with open(f"{tmp_path}/{folder}/file", "w") as file:
                file.write(folder)
        private_world()
        mounts.bind(f"{tmp_path}/source/file", f"{tmp_path}/target/file", read_only=True)
        with open(f"{tmp_path}/target/file") as file:
            seen = file.read()
        try:
            with open(f"{tmp_path}/target/file", "w"):
                pass
        except OSError as error:
            return seen, error.errno, can_write(f"{tmp_path}/target")
        return None

    assert in_child(bind, user=who) == ("source", 30, 0)


def test_places_may_be_descriptors(who, in_child, tmp_path):
    def bind():
        os.makedirs(f"{tmp_path}/source/here")
        os.mkdir(f"{tmp_path}/target")
        private_world()
        source = os.open(f"{tmp_path}/source", os.O_PATH)
        target = os.open(f"{tmp_path}/target", os.O_PATH)
        os.rename(f"{tmp_path}/target", f"{tmp_path}/renamed")
        mounts.bind(source, target)
        return os.listdir(f"{tmp_path}/renamed")

    assert in_child(bind, user=who) == ["here"]


def test_an_overlay_keeps_the_lower_folder_as_it_was(who, in_child, tmp_path):
    def stack():
        odd = f"{tmp_path}/lower:with,odd\\name"
        for folder in (odd, f"{tmp_path}/upper", f"{tmp_path}/work", f"{tmp_path}/root"):
            os.mkdir(folder)
        with open(f"{odd}/file", "w") as file:
            file.write("lower")
        private_world()
        root = f"{tmp_path}/root"
        mounts.overlay(root, [odd], f"{tmp_path}/upper", f"{tmp_path}/work", userns=who is not None)
        with open(f"{root}/file", "a") as file:
            file.write(" changed")
        os.mkdir(f"{root}/new")
        with open(f"{odd}/file") as lower, open(f"{root}/file") as merged:
            first = lower.read(), merged.read(), sorted(os.listdir(f"{tmp_path}/upper")), os.listdir(odd)
        os.unlink(f"{root}/file")
        mounts.make_read_only(root)
        return *first, os.listdir(root), can_write(root)

    assert in_child(stack, user=who) == ("lower", "lower changed", ["file", "new"], ["file"], ["new"], 30)


def test_after_the_pivot_nothing_of_the_old_root_is_there(who, in_child, tmp_path):
    def pivot():
        os.makedirs(f"{tmp_path}/root/etc")
        private_world()
        mounts.bind(f"{tmp_path}/root", f"{tmp_path}/root", flags=mounts.NOSUID | mounts.NODEV)
        mounts.pivot_root(f"{tmp_path}/root")
        tops = [os.listdir(path) for path in ("/", "/..", "/../..", ".")]
        return tops, os.getcwd(), os.path.exists("/etc/passwd"), os.path.exists("/proc/self")

    assert in_child(pivot, user=who) == ([["etc"]] * 4, "/", False, False)


def test_flags_given_with_the_options(who, in_child, tmp_path):
    def make():
        private_world()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs", mounts.NOSUID, "size=64k,nodev,noexec,ro")
        return os.statvfs(tmp_path).f_flag & 15

    assert in_child(make, user=who) == mounts.NOSUID | mounts.NODEV | mounts.NOEXEC | mounts.RDONLY


def test_X11_unmounting(who, in_child, tmp_path):
    def unmount():
        private_world()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs", options="mode=777")
        busy = os.open(f"{tmp_path}/file", os.O_CREAT | os.O_RDWR)
        told = []
        try:
            mounts.unmount(str(tmp_path))
        except Precondition as error:
            told.append("use" in str(error))
        mounts.unmount(str(tmp_path), detach=True)
        os.write(busy, b"still there")
        try:
            mounts.unmount(str(tmp_path))
        except Precondition as error:
            told.append("nothing" in str(error))
        return told, os.listdir(tmp_path)

    assert in_child(unmount, user=who) == ([True, True], [])


def test_what_cannot_be_mounted_is_refused(as_root, in_child, tmp_path):
    def attempts():
        private_world()
        with open(f"{tmp_path}/file", "w"):
            pass
        os.symlink("file", f"{tmp_path}/link")
        kinds = []
        for attempt in (
            lambda: mounts.mount("none", str(tmp_path), "nosuchfs"),
            lambda: mounts.mount("tmpfs", str(tmp_path), "tmpfs", options="size=wrong"),
            lambda: mounts.mount("tmpfs", f"{tmp_path}/missing", "tmpfs"),
            lambda: mounts.mount("tm\0pfs", str(tmp_path), "tmpfs"),
            lambda: mounts.bind(f"{tmp_path}/missing", str(tmp_path)),
            lambda: mounts.bind(str(tmp_path), f"{tmp_path}/file"),
            lambda: mounts.pivot_root(str(tmp_path)),
            lambda: mounts.bind("a\0b", str(tmp_path)),
            lambda: mounts.unmount(f"{tmp_path}/link"),
        ):
            try:
                attempt()
            except SampanError as error:
                kinds.append(error.kind)
        return kinds

    kinds = (Unimplemented, Invalid, NotFound, Invalid, NotFound, Invalid, Invalid, Invalid, Precondition)
    assert in_child(attempts) == [kind.kind for kind in kinds]


def test_C12_C13_a_racer_on_the_target_never_gets_a_mount_outside_the_root(as_root, in_child, tmp_path):
    """A link to the host flips with the folder that is mounted on; the mount follows the descriptor, not the name."""

    def race():
        (tmp_path / "root/dev/sub").mkdir(parents=True)
        (tmp_path / "host/sub").mkdir(parents=True)
        (tmp_path / "source").mkdir()
        (tmp_path / "source/mark").write_text("")
        (tmp_path / "root/evil").symlink_to("../host")
        private_world()
        root = os.open(tmp_path / "root", os.O_PATH)
        racer = os.fork()
        if racer == 0:
            for turn in count():
                syscalls.call("renameat2", root, b"dev", root, b"evil", RENAME_EXCHANGE)
                if turn % 7 == 0:  # odd, so that each of the two states lasts now and then
                    time.sleep(0.0001)
        try:
            return flips(root)
        finally:
            os.kill(racer, signal.SIGKILL)
            os.waitpid(racer, 0)

    def flips(root):
        outside, inside = 0, 0
        for turn in range(ROUNDS):
            try:
                target = (
                    make_dirs_in_root(root, "/dev/sub")
                    if turn % 2
                    else open_in_root(root, "dev/sub", os.O_PATH)
                )
            except SampanError:
                continue
            place = os.readlink(f"/proc/self/fd/{target}")
            mounts.bind(str(tmp_path / "source"), target)
            outside += os.path.exists(tmp_path / "host/sub/mark")
            inside += place.startswith(str(tmp_path / "root"))
            mounted = [m for m in mountinfo.points() if m.startswith(str(tmp_path))]
            outside += sum(not m.startswith(str(tmp_path / "root")) for m in mounted)
            for _ in mounted:
                unmount_wherever(root)
            os.close(target)
        return outside, inside > 0

    def unmount_wherever(root):
        for name in (b"dev/sub", b"evil/sub"):
            fd = -1
            try:
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=root)
                mounts.unmount(os.readlink(f"/proc/self/fd/{fd}"), detach=True)
                return
            except (OSError, SampanError):
                continue
            finally:
                if fd >= 0:
                    os.close(fd)

    assert in_child(race) == (0, True)


def test_a_detached_mount_can_be_filled_before_anybody_sees_it(who, in_child, tmp_path):
    def make():
        os.mkdir(f"{tmp_path}/target")
        private_world()
        tree = mounts.create("tmpfs", "", ["size=64k", "mode=711"], mountoptions.NOEXEC)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=tree))
        mounts.change(tree, mounts.RDONLY)
        before = os.listdir(f"{tmp_path}/target")
        target = os.open(f"{tmp_path}/target", os.O_PATH)
        mounts.attach(tree, target)
        found = os.stat(f"{tmp_path}/target").st_mode & 0o7777, os.statvfs(f"{tmp_path}/target").f_flag & 15
        mounts.unmount(tree, detach=True)
        return before, found, mountinfo.below(target), os.listdir(f"{tmp_path}/target")

    assert in_child(make, user=who) == ([], (0o711, mounts.RDONLY | mounts.NOEXEC), [], [])


def test_a_clone_takes_along_what_is_mounted_below_if_asked(who, in_child, tmp_path):
    def make():
        for folder in ("source/inner", "one", "all"):
            os.makedirs(f"{tmp_path}/{folder}")
        os.mkdir(f"{tmp_path}/all-beside")
        private_world()
        mounts.mount("tmpfs", f"{tmp_path}/source/inner", "tmpfs")
        mounts.mount("tmpfs", f"{tmp_path}/all-beside", "tmpfs")
        source = os.open(f"{tmp_path}/source", os.O_PATH)
        found = []
        for name, recursive in (("one", False), ("all", True)):
            folder = os.open(f"{tmp_path}/{name}", os.O_PATH)
            tree = mounts.clone(source, recursive)
            mounts.attach(tree, folder)
            inner = [(path, fstype) for path, fstype, _ in mountinfo.below(folder)]
            same = os.stat(f"{tmp_path}/{name}/inner").st_dev in [
                device for _, _, device in mountinfo.below(folder)
            ]
            found.append((inner, same))
        return found

    assert in_child(make, user=who) == [([], False), ([("/inner", "tmpfs")], True)]


def test_propagation_is_changed_for_the_namespace_and_for_one_mount(as_root, in_child, tmp_path):
    def change():
        private_world()
        mounts.mount("tmpfs", str(tmp_path), "tmpfs")
        top = os.open(tmp_path, os.O_PATH)
        seen = [tags()]
        mounts.set_propagation(mountoptions.PROPAGATION["rshared"])
        seen.append(tags())
        mounts.change(top, propagation=mountoptions.PROPAGATION["unbindable"])
        return [*seen, tags()]

    def tags():
        with open("/proc/self/mountinfo") as file:
            line = next(line.split() for line in file if f" {tmp_path} " in line)
        return [tag.partition(":")[0] for tag in line[6 : line.index("-")]]

    assert in_child(change) == [[], ["shared"], ["unbindable"]]


def test_what_cannot_be_made_detached_is_refused(as_root, in_child, tmp_path):
    def attempts():
        private_world()
        with open(f"{tmp_path}/file", "w"):
            pass
        folder = os.open(tmp_path, os.O_PATH)
        file = os.open(f"{tmp_path}/file", os.O_PATH)
        told = []
        for attempt in (
            lambda: mounts.create("nosuchfs", "", []),
            lambda: mounts.create("tmpfs", "", ["size=wrong"]),
            lambda: mounts.create("tmpfs", "", ["nosuchword"]),
            lambda: mounts.create("tm\0pfs", "", []),
            lambda: mounts.create("ext4", f"{tmp_path}/missing", []),
            lambda: mounts.create("ext4", f"{tmp_path}/file", []),
            lambda: mounts.create("tmpfs", "", ["size=" + "1" * 256]),
            lambda: mounts.change(folder, mounts.RDONLY),
            lambda: mounts.attach(mounts.clone(folder), file),
            lambda: mounts.attach(folder, folder),
        ):
            try:
                attempt()
            except SampanError as error:
                told.append((error.kind, str(error)))
        return told

    kinds = (Unimplemented, Invalid, Invalid, Invalid, NotFound, Invalid, Invalid, Invalid, Invalid, Invalid)
    told = in_child(attempts)
    assert [kind for kind, _ in told] == [kind.kind for kind in kinds]
    assert "nosuchfs" in told[0][1]
    assert "'size=wrong'" in told[1][1] and "Bad value" in told[1][1]
