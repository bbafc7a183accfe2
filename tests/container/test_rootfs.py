"""The kernel's mounts of a container, in mount namespaces of forked children; rows C2, C11, C12, C13."""

from __future__ import annotations

import os
import pathlib
import signal
import stat
import time
from itertools import count

import pytest

from sampan.container import rootfs
from sampan.core.errors import Denied, Exhausted, Invalid, NotFound, SampanError, Unimplemented
from sampan.core.spec.runtime import Mount
from sampan.linux import mountinfo, mounts, namespaces, syscalls
from sampan.linux.mountoptions import NOATIME, NODEV, NOEXEC, NOSUID, RDONLY
from tests.linux.conftest import run_in_child

ROUNDS = int(os.environ.get("SAMPAN_RACE_ROUNDS", "300"))
RENAME_EXCHANGE = 2
ST_NOATIME = 1024

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["root", "user"])
def who(request):
    return None if request.param == "root" else 65534


@pytest.fixture
def place(tmp_path, tmp_path_factory):
    """A bundle with a root filesystem, a volume and a secret beside it, open to every user."""
    top = tmp_path_factory.getbasetemp()
    for above in (top, *[path for path in top.parents if path.name.startswith("pytest-")]):
        os.chmod(above, 0o755)
    (tmp_path / "rootfs/etc").mkdir(parents=True)
    (tmp_path / "rootfs/etc/passwd").write_text("image")
    (tmp_path / "volume/inner").mkdir(parents=True)
    (tmp_path / "volume/file").write_text("volume")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("secret")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65534, 65534)
    return tmp_path


def enter():
    """A mount namespace of our own, in a user namespace for a plain user."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        namespaces.unshare(namespaces.NEWNS)
    else:
        namespaces.unshare(namespaces.NEWUSER | namespaces.NEWNS)
        namespaces.map_user(uid, gid)


def in_root(fn, place, who=None, propagation=""):
    """What `fn(root)` returns in a child where `place / "rootfs"` is prepared."""

    def body():
        enter()
        root = rootfs.prepare(f"{place}/rootfs", propagation)
        return fn(root)

    return run_in_child(body, user=who)


def read(root, path):
    with open(rootfs.paths.open_in_root(root, path, os.O_RDONLY)) as file:
        return file.read()


def listed(root, path):
    fd = rootfs.paths.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def write_error(root, path):
    """The error number of making a file there, or 0."""
    try:
        os.close(rootfs.paths.open_in_root(root, path, os.O_WRONLY | os.O_CREAT, 0o600))
    except SampanError as error:
        return error.__cause__.errno
    return 0


def flags(root, path):
    fd = rootfs.paths.open_in_root(root, path, os.O_PATH)
    try:
        return os.fstatvfs(fd).f_flag
    finally:
        os.close(fd)


def kind_of(fn):
    """The kind and text of the error that `fn` ends in, or nothing."""
    try:
        fn()
    except SampanError as error:
        return error.kind, str(error)
    return None


def everything(folder):
    """All that is in a folder, with its type."""
    return sorted((str(p), stat.S_IFMT(p.lstat().st_mode)) for p in folder.rglob("*"))


# ---- prepare ----


def test_the_root_becomes_a_mount_of_its_own_that_can_be_pivoted_to(place, who):
    def body(root):
        top = mountinfo.mount_of(root)
        inner = os.path.samestat(os.fstat(top), os.fstat(root))
        mounts.pivot_root(root)
        return inner, sorted(os.listdir("/")), os.statvfs("/").f_flag & (NODEV | NOSUID)

    assert in_root(body, place, who) == (True, ["etc"], NODEV | NOSUID)


def test_C2_a_root_that_is_a_link_is_followed_once(place, who):
    (place / "link").symlink_to("rootfs")

    def body():
        enter()
        root = rootfs.prepare(f"{place}/link")
        os.unlink(f"{place}/link")
        os.symlink("host", f"{place}/link")
        return listed(root, "/")

    assert run_in_child(body, user=who) == ["etc"]


@pytest.mark.parametrize(("path", "kind"), [
    ("missing", NotFound), ("rootfs/etc/passwd", Invalid), ("rootfs/etc/passwd/x", Invalid), ("a\0b", Invalid),
])  # fmt: skip
def test_C2_a_root_that_is_not_there_is_named(place, path, kind):
    def body():
        enter()
        return kind_of(lambda: rootfs.prepare(f"{place}/{path}"))

    told, text = run_in_child(body)
    assert told == kind.kind
    assert "root filesystem" in text and "root.path" in text


@pytest.mark.parametrize(("word", "tags"), [
    ("", set()), ("private", set()), ("rprivate", set()), ("slave", set()), ("rslave", set()), ("shared", {"shared"}),
    ("rshared", {"shared"}), ("unbindable", {"unbindable"}), ("runbindable", {"unbindable"}),
])  # fmt: skip
def test_the_propagation_of_the_root(place, word, tags):
    def body(root):
        rootfs.mount_all(root, [Mount("/proc2", "tmpfs")])
        proc = os.open("/proc/self", os.O_PATH)
        mounts.pivot_root(root)
        rootfs.propagate(root, word)
        with open(os.open("mountinfo", os.O_RDONLY, dir_fd=proc), "rb") as file:
            lines = [line.split() for line in file]
        optional = next(line[6 : line.index(b"-")] for line in lines if line[4] == b"/")
        return [tag.split(b":")[0].decode() for tag in optional]

    assert set(in_root(body, place, propagation=word)) == tags


def test_an_unknown_propagation_is_refused(place):
    def body():
        enter()
        return kind_of(lambda: rootfs.prepare(f"{place}/rootfs", "sharing"))

    told, text = run_in_child(body)
    assert told == Invalid.kind
    assert "'sharing'" in text


@pytest.mark.parametrize("propagation", ["", "rslave", "shared", "rshared", "private"])
def test_what_is_mounted_in_the_root_is_never_seen_on_a_host_that_shares_its_mounts(place, propagation):
    """Only below a bind that is shared itself, and only if the root's propagation says so."""

    def body():
        enter()
        mounts.make_private()
        mounts.mount("tmpfs", f"{place}/host", "tmpfs")
        os.mkdir(f"{place}/host/rootfs")
        os.mkdir(f"{place}/host/volume")
        mounts.mount("tmpfs", f"{place}/host/volume", "tmpfs")
        mounts.set_propagation(rootfs.PROPAGATION["rshared"])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                namespaces.unshare(namespaces.NEWNS)
                root = rootfs.prepare(f"{place}/host/rootfs", propagation)
                volume = Mount("/v", "bind", f"{place}/host/volume", ["rbind", "rshared"])
                rootfs.mount_all(root, [Mount("/t", "tmpfs"), volume, Mount("/v/in", "tmpfs")])
                rootfs.hide(root, ["/t"], ["/v"])
                os.write(writing, b"done")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        host = os.open(f"{place}/host", os.O_PATH)
        return os.read(reading, 9), [path for path, _, _ in mountinfo.below(host)]

    shared = ["/volume", *(["/volume/in"] if "shared" in propagation else [])]
    assert run_in_child(body) == (b"done", shared)


def test_covering_the_proc_of_a_shared_bind_leaves_the_hosts_own_alone(place):
    def body():
        enter()
        mounts.make_private()
        mounts.mount("proc", f"{place}/volume/inner", "proc")
        mounts.set_propagation(rootfs.PROPAGATION["rshared"])
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                namespaces.unshare(namespaces.NEWNS)
                root = rootfs.prepare(f"{place}/rootfs", "rshared")
                rootfs.mount_all(root, [Mount("/v", "bind", f"{place}/volume", ["rbind", "rshared"])])
                os.write(writing, str(listed(root, "/v/inner")).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        return os.read(reading, 99), os.path.exists(f"{place}/volume/inner/version")

    assert run_in_child(body) == (b"[]", True)


# ---- mount_all ----


def test_folders_and_files_are_bound_where_nothing_was(place, who):
    def body(root):
        rootfs.mount_all(root, [
            Mount("/deep/down/volume", "bind", f"{place}/volume", ["rbind", "rprivate"]),
            Mount("relative//../folder", "", f"{place}/volume", ["bind", "ro"]),
            Mount("/new/file", "bind", f"{place}/volume/file", ["bind", "ro"]),
            Mount("/etc/passwd", "bind", "volume/file", ["bind"]),
        ], bundle=str(place))  # fmt: skip
        seen = [read(root, p) for p in ("/deep/down/volume/file", "folder/file", "/new/file", "/etc/passwd")]
        places = ("/deep/down/volume/x", "/folder/y", "/new/file", "/etc/passwd")
        return seen, [write_error(root, path) for path in places]

    assert in_root(body, place, who) == (["volume"] * 4, [0, 30, 30, 0])
    assert (place / "rootfs/etc/passwd").read_text() == "image"
    assert (place / "rootfs/new/file").read_bytes() == b""


def test_ro_is_for_one_mount_and_rro_for_all_below(place, who):
    def body(root):
        mounts.mount("tmpfs", f"{place}/volume/inner", "tmpfs", options="mode=777")
        wanted = {"one": ["rbind", "ro"], "all": ["rbind", "rro"], "most": ["rbind", "ro", "rrw"]}
        rootfs.mount_all(root, [Mount(n, "bind", f"{place}/volume", words) for n, words in wanted.items()])
        return [(write_error(root, f"{name}/x"), write_error(root, f"{name}/inner/x")) for name in wanted]

    assert in_root(body, place, who) == [(30, 0), (30, 30), (0, 0)]


def test_a_bind_keeps_what_its_source_forbids_and_nothing_brings_devices(place, who):
    """In a user namespace the kernel has locked these flags; a change that would clear one is refused."""

    def body():
        if who is not None:  # what a plain user's namespace inherits is locked there
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        options = "mode=777,noexec,nosuid,nodev"
        mounts.mount("tmpfs", f"{place}/volume", "tmpfs", options=options)
        target = os.open(f"{place}/volume", os.O_PATH)
        mounts.change(target, RDONLY | NOATIME, rootfs.mountoptions.ATIME_FIELD)
        if who is not None:
            os.setresgid(who, who, who)
            os.setresuid(who, who, who)
            syscalls.call("prctl", 4, 1)
        enter()
        root = rootfs.prepare(f"{place}/rootfs")
        plain = Mount("/plain", "bind", f"{place}/volume", ["rbind"])
        rootfs.mount_all(
            root, [plain, Mount("/again", "bind", f"{place}/volume", ["bind", "ro", "dev", "suid"])]
        )
        wish = Mount("/rw", "bind", f"{place}/volume", ["bind", "rw"])
        refused = kind_of(lambda: rootfs.mount_all(root, [wish]))
        kept = RDONLY | NOSUID | NODEV | NOEXEC | ST_NOATIME
        return [flags(root, path) & kept == kept for path in ("/plain", "/again")], refused and refused[0]

    def as_first_root():
        return body()

    expected = None if who is None else Denied.kind
    assert run_in_child(as_first_root) == ([True, True], expected)


def test_a_tmpfs_takes_its_options_and_the_mode_of_what_it_covers(place, who):
    (place / "rootfs/tmp").mkdir()
    os.chmod(place / "rootfs/tmp", 0o1750)
    owner = 0 if who is None else who

    def body(root):
        rootfs.mount_all(root, [
            Mount("/tmp", "tmpfs", "tmpfs", ["nosuid", "noexec", "size=64k"]),
            Mount("/run", "tmpfs", "", [f"size=8k,mode=0700,uid={owner}", f"gid={owner}", "strictatime"]),
            Mount("/new", "tmpfs", "shm", []),
            Mount("/frozen", "tmpfs", "tmpfs", ["ro"]),
        ])  # fmt: skip
        found = []
        for path in ("/tmp", "/run", "/new"):
            fd = rootfs.paths.open_in_root(root, path, os.O_PATH)
            found.append((os.fstat(fd).st_mode & 0o7777, os.fstat(fd).st_uid))
        sizes = [os.fstatvfs(rootfs.paths.open_in_root(root, p, os.O_PATH)) for p in ("/tmp", "/run")]
        return (
            found,
            [s.f_blocks * s.f_frsize for s in sizes],
            write_error(root, "/frozen/x"),
            flags(root, "/tmp"),
        )

    found, sizes, frozen, tmp = in_root(body, place, who)
    assert [mode for mode, _ in found] == [0o1750, 0o700, 0o1777]
    assert found[1][1] == owner
    assert (sizes, frozen) == ([65536, 8192], 30)
    assert tmp & (NOEXEC | NOSUID | NODEV) == NOEXEC | NOSUID | NODEV


def test_tmpcopyup_starts_with_the_images_files_and_leaves_them_alone(place, who):
    image = place / "rootfs/data"
    (image / "a/b").mkdir(parents=True)
    (image / "a/b/file").write_text("x" * 100_000)
    (image / "link").symlink_to("/etc/passwd")
    os.mkfifo(image / "fifo")
    os.chmod(image / "a", 0o2750)
    os.utime(image / "a/b/file", ns=(10**9, 2 * 10**9))
    for path in (image, *image.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.chmod(image / "a", 0o2750)
    before = everything(image)

    def body(root):
        rootfs.mount_all(root, [Mount("/data", "tmpfs", "tmpfs", ["tmpcopyup", "size=1m", "ro"])])
        fd = rootfs.paths.open_in_root(root, "/data", os.O_RDONLY)
        file = os.stat("a/b/file", dir_fd=fd)
        copied = (
            sorted(os.listdir(fd)),
            os.readlink("link", dir_fd=fd),
            stat.S_ISFIFO(os.stat("fifo", dir_fd=fd).st_mode),
            oct(os.stat("a", dir_fd=fd).st_mode & 0o7777),
            (file.st_size, file.st_mtime_ns, file.st_uid),
        )
        return copied, write_error(root, "/data/new"), os.fstatvfs(fd).f_blocks > 0

    copied = (["a", "fifo", "link"], "/etc/passwd", True, "0o2750", (100_000, 2 * 10**9, 65534))
    assert in_root(body, place, who) == (copied, 30, True)
    assert everything(image) == before


def test_tmpcopyup_that_does_not_fit_is_an_error(place):
    (place / "rootfs/big").mkdir()
    (place / "rootfs/big/file").write_bytes(b"x" * 100_000)

    def body(root):
        wish = Mount("/big", "tmpfs", "tmpfs", ["tmpcopyup", "size=16k"])
        return kind_of(lambda: rootfs.mount_all(root, [wish])), listed(root, "/big")

    (kind, text), left = in_root(body, place)
    assert kind == Exhausted.kind
    assert "/big" in text and "copy the image's files" in text
    assert left == ["file"]


def test_tmpcopyup_in_a_user_namespace_takes_what_is_nobodys(place):
    (place / "rootfs/data").mkdir()
    (place / "rootfs/data/file").write_text("image")
    os.chown(place / "rootfs/data/file", 65534, 65534)

    def body(root):
        rootfs.mount_all(root, [Mount("/data", "tmpfs", "tmpfs", ["tmpcopyup"])])
        fd = rootfs.paths.open_in_root(root, "/data/file", os.O_PATH)
        return read(root, "/data/file"), os.fstat(fd).st_uid

    os.chmod(place, 0o755)
    assert in_root(body, place, 1234) == ("image", 1234)


def test_a_bind_alone_of_what_covers_others_in_a_user_namespace_says_how(place):
    def body(root):
        wish = Mount("/etc", "bind", "/", ["bind"])
        return kind_of(lambda: rootfs.mount_all(root, [wish]))

    kind, text = in_root(body, place, 65534)
    assert kind == Invalid.kind
    assert "rbind" in text


def test_a_remount_changes_the_flags_of_what_is_there(place, who):
    def body(root):
        wanted = [Mount("/t", "tmpfs"), Mount("/t", "tmpfs", "", ["remount", "ro", "noexec"])]
        rootfs.mount_all(root, wanted)
        return flags(root, "/t") & 15

    assert in_root(body, place, who) == RDONLY | NOSUID | NODEV | NOEXEC


def test_other_file_systems_are_made_by_the_kernel(place):
    def body(root):
        options = [f"lowerdir={place}/volume:{place}/host", "ro"]
        rootfs.mount_all(
            root, [Mount("/both", "overlay", "overlay", options), Mount("/ram", "ramfs", "x", ["sync"])]
        )
        return listed(root, "/both"), write_error(root, "/both/x"), write_error(root, "/ram/x")

    assert in_root(body, place) == (["file", "inner", "secret"], 30, 0)


def test_W15_kernel_file_systems_are_not_made_nor_anything_below_their_places(place, who):
    (place / "rootfs/x").symlink_to("/proc")

    def body(root):
        rootfs.mount_all(root, [
            Mount("/proc", "proc", "proc"), Mount("/elsewhere", "proc", "proc"), Mount("/s", "sysfs", "sysfs"),
            Mount("/dev", "tmpfs", "tmpfs"), Mount("/dev/shm", "tmpfs", "shm"), Mount("/q", "mqueue", "mqueue"),
            Mount("/c", "cgroup", "cgroup"), Mount("//proc/../dev//pts", "devpts"), Mount("../sys/x", "tmpfs"),
            Mount("/etc/../proc/y", "bind", f"{place}/volume", ["bind"]),
            Mount("/hostproc", "bind", "/proc", ["rbind"]), Mount("/one", "bind", "/proc/version", ["bind"]),
            Mount("/hostsys", "bind", "/sys", ["bind"]),
        ])  # fmt: skip
        return listed(root, "/")

    assert in_root(body, place, who) == ["etc", "x"]


def test_W15_what_a_recursive_bind_brings_of_proc_is_covered(place, who):
    def body(root):
        for name in ("proc", "file"):
            os.mkdir(f"{place}/volume/{name}")
        if who is None:
            mounts.mount("proc", f"{place}/volume/proc", "proc")
        else:  # a plain user's proc would need a pid namespace
            mounts.bind("/proc", f"{place}/volume/proc")
        mounts.mount("tmpfs", f"{place}/volume/file", "tmpfs")
        with open(f"{place}/volume/file/version", "w"):
            pass
        mounts.bind("/proc/version", f"{place}/volume/file/version")
        rootfs.mount_all(root, [Mount("/v", "bind", f"{place}/volume", ["rbind"])])
        seen = listed(root, "/v/proc"), read(root, "/v/file/version"), listed(root, "/v/file")
        return (
            seen,
            write_error(root, "/v/proc/x"),
            write_error(root, "/v/file/x"),
            os.path.exists("/proc/self"),
        )

    (place / "volume/file").unlink()
    assert in_root(body, place, who) == (([], "", ["version"]), 30, 0, True)


def test_W15_a_root_filesystem_with_proc_in_it_shows_no_process(place):
    def body():
        enter()
        mounts.make_private()
        mounts.mount("proc", f"{place}/rootfs/etc", "proc")
        root = rootfs.prepare(f"{place}/rootfs")
        rootfs.mount_all(root, [])
        return listed(root, "/etc")

    assert run_in_child(body) == []


def test_W15_a_bind_of_the_hosts_root_shows_no_process(place):
    def body(root):
        rootfs.mount_all(root, [Mount("/host", "bind", "/", ["rbind", "rslave", "ro"])])
        return [listed(root, path) for path in ("/host/proc", "/host/sys")], "etc" in listed(root, "/host")

    assert in_root(body, place) == ([[], []], True)


@pytest.mark.parametrize(("mount", "kind", "words"), [
    (Mount("/", "tmpfs"), Invalid, "root filesystem itself"),
    (Mount("", "tmpfs"), Invalid, "root filesystem itself"),
    (Mount("/etc/../..", "tmpfs"), Invalid, "root filesystem itself"),
    (Mount("/top", "tmpfs"), Invalid, "root filesystem itself"),
    (Mount("/top/", "bind", "/etc", ["bind"]), Invalid, "root filesystem itself"),
    (Mount("/x", "bind", "/not/there", ["bind"]), NotFound, "/not/there"),
    (Mount("/x", "bind", "", ["bind"]), Invalid, "no source"),
    (Mount("/x", "bind", "a\0b", ["bind"]), Invalid, "not a file name"),
    (Mount("/a\0b", "tmpfs"), Invalid, "not a file name"),
    (Mount("/x"), Invalid, "no type"),
    (Mount("/x", "nosuchfs", "none"), Unimplemented, "nosuchfs"),
    (Mount("/x", "tmpfs", "", ["size=wrong"]), Invalid, "size=wrong"),
    (Mount("/x", "tmpfs", "", ["nosuchword"]), Invalid, "nosuchword"),
    (Mount("/x", "tmpfs", "", ["a\0b"]), Invalid, "NUL"),
    (Mount("/x", "tmpfs", "", ["size=" + "9" * 300]), Invalid, "255"),
    (Mount("/x", "bind", "/etc", ["bind", "idmap"]), Unimplemented, "idmap"),
    (Mount("/x", "ramfs", "", ["tmpcopyup"]), Invalid, "tmpcopyup"),
    (Mount("/x", "tmpfs", "", ["remount", "ro"]), NotFound, "'/x'"),
    (Mount("/etc", "tmpfs", "", ["remount", "ro"]), Invalid, "Invalid argument"),
    (Mount("/etc", "tmpfs", "", ["remount", "size=1k"]), Unimplemented, "size=1k"),
    (Mount("/loop", "tmpfs"), Invalid, "symbolic links"),
    (Mount("/nowhere", "bind", "/etc/passwd", ["bind"]), Invalid, "leads nowhere"),
    (Mount("/etc/passwd", "bind", "/etc", ["bind"]), NotFound, "Not a directory"),
    (Mount("/etc", "bind", "/etc/passwd", ["bind"]), Invalid, "a file cannot be mounted on a folder"),
    (Mount("/" + "x" * 300, "tmpfs"), Invalid, "too long"),
], ids=lambda value: str(value.destination)[:20] if isinstance(value, Mount) else "")  # fmt: skip
def test_C11_a_mount_that_cannot_be_made_is_named(place, mount, kind, words):
    (place / "rootfs/top").symlink_to("/")
    (place / "rootfs/loop").symlink_to("loop")
    (place / "rootfs/nowhere").symlink_to("missing")

    def body(root):
        return kind_of(lambda: rootfs.mount_all(root, [mount])), mountinfo.below(root)

    (told, text), left = in_root(body, place)
    assert told == kind.kind
    assert "cannot mount" in text and words in text
    assert left == []


def test_C11_nothing_is_made_when_one_mount_cannot_be_right(place):
    def body(root):
        many = [Mount(f"/m{n}", "tmpfs") for n in range(rootfs.MAX_MOUNTS + 1)]
        told = [kind_of(lambda: rootfs.mount_all(root, many)), kind_of(lambda: rootfs.mount_all(root, bad))]
        return [kind for kind, _ in told], listed(root, "/")

    bad = [Mount("/made", "tmpfs"), Mount("/", "tmpfs")]
    assert in_root(body, place) == ([Invalid.kind] * 2, ["etc"])


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
def test_maps_of_ids_are_refused(key):
    mount = Mount.from_json({"destination": "/x", "type": "bind", "source": "/etc", key: [{"hostID": 1}]})
    with pytest.raises(Unimplemented, match="/x"):
        rootfs.check([mount])


def test_C11_a_source_that_is_a_link_is_followed_once_by_the_host(place):
    (place / "link").symlink_to("volume")

    def body(root):
        rootfs.mount_all(root, [Mount("/v", "bind", "link", ["bind"])], bundle=str(place))
        os.unlink(f"{place}/link")
        os.symlink("host", f"{place}/link")
        return listed(root, "/v")

    assert in_root(body, place) == ["file", "inner"]


# ---- hide ----


def test_masked_files_and_folders_are_empty_and_cannot_be_written(place, who):
    (place / "rootfs/etc/deep").mkdir()
    (place / "rootfs/etc/deep/secret").write_text("secret")
    (place / "rootfs/etc/link").symlink_to("/etc/deep")

    def body(root):
        rootfs.hide(
            root, ["/etc/passwd", "/etc/link", "/missing", "/etc/passwd/x", "/proc/kcore", "/sys"], []
        )
        seen = read(root, "/etc/passwd"), listed(root, "/etc/deep"), listed(root, "/")
        left = [path for path, _, _ in mountinfo.below(root)]
        return seen, write_error(root, "/etc/passwd"), write_error(root, "/etc/deep/x"), sorted(left)

    expected = ("", [], ["etc"]), 30, 30, ["/etc/deep", "/etc/passwd"]
    assert in_root(body, place, who) == expected
    assert (place / "rootfs/etc/deep/secret").read_text() == "secret"


def test_read_only_paths_are_so_all_the_way_down_and_the_rest_is_not(place, who):
    def body(root):
        rootfs.mount_all(root, [Mount("/etc/inner", "tmpfs"), Mount("/free", "tmpfs")])
        rootfs.hide(root, ["/etc/passwd"], ["/etc", "/missing", "/proc/sys", "/etc/inner"])
        places = ("/etc/x", "/etc/inner/x", "/free/x", "/x")
        return [write_error(root, path) for path in places], read(root, "/etc/passwd")

    assert in_root(body, place, who) == ([30, 30, 0, 0], "")


def test_the_root_is_made_read_only_last(place, who):
    def body(root):
        rootfs.mount_all(root, [Mount("/t", "tmpfs", "", ["mode=777"])])
        rootfs.hide(root, ["/etc/passwd"], [])
        mounts.make_read_only(root)
        return write_error(root, "/x"), write_error(root, "/etc/x"), write_error(root, "/t/x")

    assert in_root(body, place, who) == (30, 30, 0)


@pytest.mark.parametrize("path", ["/", "/etc/..", "/top", ""])
def test_the_root_itself_cannot_be_masked(place, path):
    (place / "rootfs/top").symlink_to("/")

    def body(root):
        return [kind_of(lambda wish=wish: rootfs.hide(root, *wish)) for wish in (([path], []), ([], [path]))]

    assert [told and told[0] for told in in_root(body, place)] == [Invalid.kind] * 2


# ---- images that lie ----

DEVICE_PLACES = ("/dev", "/proc", "/sys", "/dev/null", "/dev/console", "/dev/pts")


@pytest.mark.parametrize("link", DEVICE_PLACES)
@pytest.mark.parametrize("target", ["../host", "../../../../../../..", "/etc", "HOST"])
def test_C13_links_at_the_places_of_devices_change_nothing_outside(place, who, link, target):
    """CVE-2025-31133, CVE-2025-52565, CVE-2026-41579: what a runtime makes at these places went where they led."""
    path = pathlib.Path(f"{place}/rootfs{link}")
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(str(place / "host") if target == "HOST" else target)
    before = everything(place)

    def body(root):
        rootfs.mount_all(root, [
            Mount("/proc", "proc", "proc"), Mount("/dev", "tmpfs", "tmpfs", ["mode=755"]),
            Mount("/dev/pts", "devpts", "devpts"), Mount("/sys", "sysfs", "sysfs"), Mount("/dev/shm", "tmpfs", "shm"),
            Mount("/dev/console", "bind", f"{place}/volume/file", ["bind"]),
        ])  # fmt: skip
        rootfs.hide(
            root, ["/proc/kcore", "/sys/firmware", "/dev/null", "/etc/passwd"], ["/proc/sys", "/dev/console"]
        )
        outside = [line for line in mountinfo.points() if line.startswith(f"{place}/host")]
        inside = [point for point, _, _ in mountinfo.below(root)]
        return outside, inside, read(root, "/etc/passwd"), os.path.exists(f"{place}/host/secret")

    assert in_root(body, place, who) == ([], ["/etc/passwd"], "", True)
    assert everything(place) == before


def test_C13_a_mask_never_comes_from_the_images_dev_null(place):
    """CVE-2025-31133."""
    (place / "rootfs/dev").mkdir()
    (place / "rootfs/dev/null").symlink_to("/etc/shadow")
    (place / "rootfs/etc/shadow").write_text("other")

    def body(root):
        rootfs.hide(root, ["/etc/passwd"], [])
        fd = rootfs.paths.open_in_root(root, "/etc/passwd", os.O_PATH)
        return read(root, "/etc/passwd"), stat.S_ISREG(os.fstat(fd).st_mode), read(root, "/etc/shadow")

    assert in_root(body, place) == ("", True, "other")


@pytest.mark.parametrize("target", ["../../host", "/../../../host", "HOST"])
def test_C13_a_mount_below_a_link_stays_in_the_root(place, who, target):
    (place / "rootfs/out").symlink_to(str(place / "host") if target == "HOST" else target)
    os.mkdir(place / "rootfs/host")
    os.makedirs(f"{place}/rootfs{place}/host")
    for path in (place / "rootfs").rglob("*"):
        os.chown(path, 65534, 65534, follow_symlinks=False)

    def body(root):
        rootfs.mount_all(root, [
            Mount("/out/folder", "tmpfs", "tmpfs"), Mount("/out/file", "bind", f"{place}/volume/file", ["bind"]),
        ])  # fmt: skip
        rootfs.hide(root, ["/out/secret"], ["/out"])
        return listed(root, "/out"), [p for p in mountinfo.points() if p.startswith(f"{place}/host")]

    assert in_root(body, place, who) == (["file", "folder"], [])
    assert sorted(os.listdir(place / "host")) == ["secret"]


# ---- racers ----


def racing(body, place, pairs):
    """`body(root)` while two processes flip each pair of names in the root filesystem."""

    def run():
        enter()
        mounts.make_private()
        inside = os.open(f"{place}/rootfs", os.O_PATH)
        racers = [racer(inside, pairs, pause) for pause in (7, 11)]
        try:
            return body()
        finally:
            for pid in racers:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    return run_in_child(run, timeout=600)


def racer(folder, pairs, pause):
    pid = os.fork()
    if pid == 0:
        try:
            for turn in count():
                one, other = pairs[turn % len(pairs)]
                try:
                    syscalls.call("renameat2", folder, one, folder, other, RENAME_EXCHANGE)
                except OSError:  # held by a mount just now
                    time.sleep(0)
                if turn % pause == 0:  # each of the states lasts now and then
                    time.sleep(0.0001)
        finally:
            os._exit(1)
    return pid


def test_C11_C12_C13_racers_on_all_that_is_mounted_and_hidden(place):
    """CVE-2021-30465, CVE-2024-45310: 0 mounts and 0 files outside, whoever renames what in the image meanwhile."""
    image = place / "rootfs"
    (image / "data/sub").mkdir(parents=True)
    (image / "data/secret").write_text("image")
    (image / "evil").symlink_to("../host")
    (image / "worse").symlink_to(str(place / "host"))
    (image / "files").mkdir()
    (image / "files/secret").write_text("image")
    (place / "host/sub").mkdir()
    before = everything(place / "host")

    def body():
        outside, made, refused = [], 0, 0
        for _ in range(ROUNDS):
            root = rootfs.prepare(f"{place}/rootfs")
            try:
                rootfs.mount_all(root, [
                    Mount("/data/sub/new/deep", "tmpfs", "tmpfs", ["size=64k"]),
                    Mount("/files/new/file", "bind", f"{place}/volume/file", ["bind", "ro"]),
                    Mount("/data/sub", "tmpfs", "tmpfs", ["tmpcopyup", "size=1m"]),
                ])  # fmt: skip
                rootfs.hide(root, ["/data/secret", "/evil/secret"], ["/files", "/worse"])
                made += 1
            except SampanError:
                refused += 1
            points = [p for p in mountinfo.points() if p.startswith(f"{place}/")]
            outside += [p for p in points if not p.startswith(f"{place}/rootfs")]
            if pathlib.Path(f"{place}/host/secret").read_text() != "secret":
                outside.append("secret")
            mounts.unmount(root, detach=True)
            os.close(root)
        return outside, made > 0, made + refused

    pairs = [(b"data", b"evil"), (b"files", b"worse")]
    assert racing(body, place, pairs) == ([], True, ROUNDS)
    assert everything(place / "host") == before


def test_C12_a_racer_on_the_source_gets_one_of_both_whole(place):
    (place / "rootfs/source").mkdir()
    (place / "rootfs/source/mark").write_text("one")
    (place / "rootfs/other").mkdir()
    (place / "rootfs/other/mark").write_text("two")

    def body():
        seen = set()
        for _ in range(ROUNDS):
            root = rootfs.prepare(f"{place}/volume")
            try:
                rootfs.mount_all(root, [Mount("/inner", "bind", f"{place}/rootfs/source", ["bind", "ro"])])
                seen.add(read(root, "/inner/mark"))
                seen.add(write_error(root, "/inner/mark"))
            finally:
                mounts.unmount(root, detach=True)
                os.close(root)
        return sorted(map(str, seen - {"one", "two"})), bool(seen & {"one", "two"})

    assert racing(body, place, [(b"source", b"other")]) == (["30"], True)
