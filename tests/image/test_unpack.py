"""Unpacking: the tree is what the layers say, nothing gets out of it, and bad layers are refused in time."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.core.digest import digest_of
from sampan.core.errors import DataLoss, Denied, Exhausted, Invalid, SampanError
from sampan.image.layerstream import Limits
from sampan.image.unpack import Unpacker
from sampan.testing import tars
from sampan.testing.tars import archive, file, folder, hardlink, header, pax, raw_pax, symlink

ROOT = os.geteuid() == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The folder to unpack into, beside a secret that nobody may touch."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def apply(tree: Path, *layers: bytes, limits: Limits | None = None) -> list[str]:
    """Apply plain tars in order; the warnings."""
    with Unpacker(str(tree), limits) as unpacker:
        for data in layers:
            unpacker.apply(io.BytesIO(data), len(data), digest_of(data))
        unpacker.finish()
        return unpacker.warnings


def apply_blob(tree: Path, blob: bytes, diff_id: str = "", limits: Limits | None = None) -> None:
    with Unpacker(str(tree), limits) as unpacker:
        unpacker.apply(io.BytesIO(blob), len(blob), diff_id)


def names(tree: Path) -> list[str]:
    return sorted(str(p.relative_to(tree)) for p in tree.rglob("*"))


def untouched(tree: Path) -> bool:
    """Whether only the tree changed."""
    return (
        sorted(os.listdir(tree.parent)) == ["root", "secret"]
        and (tree.parent / "secret").read_text() == "secret"
    )


def test_a_layer_becomes_files_with_content_mode_time_and_owner(tree: Path) -> None:
    apply(
        tree,
        archive(
            folder("./", mode=0o711),
            folder("etc/", mode=0o750, mtime=1000),
            file("etc/motd", b"hello", mode=0o640, uid=1234, gid=5678, mtime=1_600_000_000),
            symlink("link", "etc/motd", mtime=77),
            hardlink("hard", "etc/motd"),
        ),
    )
    found = os.stat(tree / "etc/motd")
    assert (tree / "etc/motd").read_bytes() == b"hello"
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_mtime == 1_600_000_000
    assert (found.st_uid, found.st_gid) == ((1234, 5678) if ROOT else (os.geteuid(), os.getegid()))
    assert os.readlink(tree / "link") == "etc/motd"
    assert os.lstat(tree / "link").st_mtime == 77
    assert os.stat(tree / "hard").st_ino == found.st_ino
    etc = os.stat(tree / "etc")
    assert (stat.S_IMODE(etc.st_mode), etc.st_mtime) == (0o750, 1000)
    assert stat.S_IMODE(os.stat(tree).st_mode) == 0o711


def test_folders_that_no_entry_makes_are_made(tree: Path) -> None:
    apply(tree, archive(file("a/b/c", b"x")))
    assert names(tree) == ["a", "a/b", "a/b/c"]
    assert stat.S_IMODE(os.stat(tree).st_mode) == 0o755


def test_a_folder_without_write_permission_is_filled_by_any_layer(tree: Path) -> None:
    with Unpacker(str(tree)) as unpacker:
        for data in (archive(folder("d", mode=0o555), file("d/a")), archive(file("d/b"))):
            unpacker.apply(io.BytesIO(data), len(data), "")
            assert stat.S_IMODE(os.stat(tree / "d").st_mode) == 0o700
        unpacker.finish()
    assert names(tree) == ["d", "d/a", "d/b"]
    assert stat.S_IMODE(os.stat(tree / "d").st_mode) == 0o555


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/../x", "a/.."])
def test_L1_an_entry_that_leads_upwards_is_refused(tree: Path, name: str) -> None:
    for bad in (file(name, b"x"), folder(name), symlink(name, "x"), hardlink("x", name)):
        with pytest.raises(Invalid):
            apply(tree, archive(file("x", b""), bad))
    assert untouched(tree)


def test_L2_an_absolute_entry_is_below_the_root(tree: Path) -> None:
    apply(tree, archive(file("/etc/x", b"x"), file("//etc/./y", b"y")))
    assert names(tree) == ["etc", "etc/x", "etc/y"]


def test_L3_links_stay_in_the_root_when_written_through(tree: Path) -> None:
    outside = tree.parent
    apply(
        tree,
        archive(
            folder("data"),
            symlink("up", "../../../data"),
            file("up/a", b"a"),
            symlink("absolute", "/data"),
            file("absolute/b", b"b"),
        ),
    )
    assert sorted(os.listdir(tree / "data")) == ["a", "b"]
    for bad in (file("host/secret", b"evil"), hardlink("copy", "host/secret")):
        with pytest.raises(Invalid):
            apply(tree, archive(symlink("host", str(outside)), bad))
    assert untouched(tree)


def test_L3_a_file_takes_the_place_of_a_link_and_not_of_its_target(tree: Path) -> None:
    secret = tree.parent / "secret"
    apply(tree, archive(symlink("l", str(secret)), file("l", b"new")))
    assert (tree / "l").read_bytes() == b"new"
    assert not (tree / "l").is_symlink()
    assert untouched(tree)


def test_L4_loops_and_long_chains_of_links_are_refused(tree: Path) -> None:
    with pytest.raises(Invalid):
        apply(tree, archive(symlink("a", "b"), symlink("b", "a"), file("a/x")))
    chain = [symlink(f"l{n}", f"l{n + 1}") for n in range(60)]
    with pytest.raises(Invalid):
        apply(tree, archive(*chain, folder("l60"), file("l0/x")))


@pytest.mark.parametrize(
    "target", ["../../etc/passwd", "absent", "dir", "sym", "sym/absent", "", "/", "file/below"]
)
def test_L5_a_hard_link_to_anything_but_a_file_of_the_tree_is_refused(tree: Path, target: str) -> None:
    parts = (folder("dir"), file("file"), symlink("sym", "/etc/passwd"))
    with pytest.raises(Invalid):
        apply(tree, archive(*parts, hardlink("h", target)))
    assert "h" not in names(tree)


def test_L5_a_hard_link_to_a_file_of_a_lower_layer_or_to_itself_is_fine(tree: Path) -> None:
    apply(tree, archive(file("a", b"x")), archive(hardlink("d/b", "/a"), hardlink("a", "a")))
    assert os.stat(tree / "a").st_ino == os.stat(tree / "d/b").st_ino


@pytest.mark.parametrize("kind", [b"3", b"4"])
def test_L6_device_nodes_are_denied(tree: Path, kind: bytes) -> None:
    with pytest.raises(Denied, match="device"):
        apply(tree, archive(tars.entry("null", kind=kind)))
    assert names(tree) == []


def test_L7_fifos_are_left_out_and_named_in_a_warning(tree: Path) -> None:
    warnings = apply(tree, archive(tars.entry("pipe", kind=b"6"), file("x")))
    assert names(tree) == ["x"]
    assert len(warnings) == 1
    assert "pipe" in warnings[0]


@pytest.mark.parametrize(
    "name", [".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.a/b", ".wh..wh.plnk", ".wh..wh..opq/x"]
)
def test_L8_whiteouts_that_name_nothing_are_refused(tree: Path, name: str) -> None:
    with pytest.raises(Invalid):
        apply(tree, archive(file("keep")), archive(file(name)))
    assert names(tree) == ["keep"]


def test_L8_a_whiteout_that_is_a_folder_is_refused(tree: Path) -> None:
    with pytest.raises(Invalid):
        apply(tree, archive(folder(".wh.a")))


def test_L9_whiteouts_stay_in_the_root(tree: Path) -> None:
    (tree.parent / "victim").mkdir()
    (tree.parent / "victim/x").touch()
    lower = archive(symlink("out", str(tree.parent / "victim")), symlink("up", "../victim"))
    apply(tree, lower, archive(file("out/.wh..wh..opq"), file("up/.wh.x"), file("out/.wh.x")))
    assert (tree.parent / "victim/x").exists()


def test_L9_an_opaque_root_empties_the_tree_and_not_the_layer(tree: Path) -> None:
    apply(tree, archive(file("old"), file("d/old")), archive(file("new"), file(".wh..wh..opq")))
    assert names(tree) == ["new"]


def test_L9_an_opaque_folder_in_place_of_a_link_spares_what_the_link_led_to(tree: Path) -> None:
    lower = archive(file("run/pid"), symlink("var", "run"))
    apply(tree, lower, archive(folder("var"), file("var/.wh..wh..opq"), file("var/new")))
    assert names(tree) == ["run", "run/pid", "var", "var/new"]


@pytest.mark.parametrize("reverse", [False, True])
def test_L10_the_order_in_a_layer_does_not_matter(tree: Path, reverse: bool) -> None:
    upper = [
        file("a/new"),
        file("a/.wh.old"),
        file("b/.wh..wh..opq"),
        file("b/new"),
        file(".wh.c"),
        file("a/.wh.new"),
    ]
    lower = archive(file("a/old"), file("a/kept"), file("b/old"), file("c/x"))
    apply(tree, lower, archive(*(reversed(upper) if reverse else upper)))
    assert names(tree) == ["a", "a/kept", "a/new", "b", "b/new"]


def test_L11_a_gzip_bomb_stops_at_the_limit(tree: Path) -> None:
    size = 64 << 20
    packer = zlib.compressobj(9, wbits=31)
    blob = packer.compress(header(b"zeros", size=size))
    blob += b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    with pytest.raises(Exhausted, match="unpacks to more"):
        apply_blob(tree, blob, limits=Limits(small=1 << 20))
    assert sum(p.stat().st_size for p in tree.rglob("*")) <= 16 << 20


def test_L11_a_zstd_bomb_stops_at_the_limit(tree: Path) -> None:
    blob = zstd.compress(archive(file("zeros", bytes(32 << 20))))
    with pytest.raises(Exhausted):
        apply_blob(tree, blob, limits=Limits(small=1 << 20))


def test_L11_layers_of_one_image_share_the_limit_in_bytes(tree: Path) -> None:
    data = archive(file("a", bytes(600_000)))
    with pytest.raises(Exhausted):
        apply(tree, data, data, limits=Limits(bytes=1_000_000))


def test_L11_nested_gzip_is_no_tar(tree: Path) -> None:
    with pytest.raises(SampanError):
        apply_blob(tree, gzip.compress(gzip.compress(archive(file("x")))))
    assert names(tree) == []


def test_L11_memory_stays_small_whatever_the_layer_holds(tree: Path) -> None:
    """In a process of its own: how much its peak grows while it unpacks 128 MiB."""
    script = (
        "import io, resource, sys, zlib\n"
        "from sampan.image.unpack import Unpacker\n"
        "from sampan.testing.tars import header\n"
        "packer = zlib.compressobj(1, wbits=31)\n"
        "blob = packer.compress(header(b'big', size=128 << 20))\n"
        "blob += b''.join(packer.compress(bytes(1 << 20)) for _ in range(128))\n"
        "blob += packer.compress(bytes(1024)) + packer.flush()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with Unpacker(sys.argv[1]) as unpacker: unpacker.apply(io.BytesIO(blob), len(blob), '')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tree)], capture_output=True, check=True)
    assert (tree / "big").stat().st_size == 128 << 20
    assert int(done.stdout) < 48 << 10  # KiB


def test_L12_gzip_members_are_joined(tree: Path) -> None:
    data = archive(file("a", os.urandom(5000)), file("b", b"b"))
    blob = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    apply_blob(tree, blob, digest_of(data))
    assert names(tree) == ["a", "b"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_L12_garbage_truncation_and_damage_are_refused(tree: Path, compress: object) -> None:
    assert callable(compress)
    blob = compress(archive(file("a", os.urandom(5000))))
    assert isinstance(blob, bytes)
    broken = bytes([blob[len(blob) // 2] ^ 0xFF])
    middle = len(blob) // 2
    for bad in (blob + b"garbage", blob + b"\0", blob[:-1], blob[:middle], blob[:3]):
        with pytest.raises((Invalid, DataLoss)):
            apply_blob(tree, bad)
    with pytest.raises((Invalid, DataLoss)):
        apply_blob(
            tree, blob[:middle] + broken + blob[middle + 1 :], digest_of(gzip.decompress(gzip.compress(b"")))
        )


def test_L12_a_tar_that_ends_inside_an_entry_is_refused(tree: Path) -> None:
    data = archive(file("a", bytes(2000)))
    for end in (100, 513, 1500, 2512):
        with pytest.raises(DataLoss):
            apply_blob(tree, data[:end])


def test_L13_zstd_is_read_and_large_windows_and_dictionaries_are_not(tree: Path) -> None:
    data = archive(file("a", bytes(100_000)))
    apply_blob(tree, zstd.compress(data), digest_of(data))
    assert (tree / "a").stat().st_size == 100_000
    options = {zstd.CompressionParameter.window_log: 28}
    packer = zstd.ZstdCompressor(options=options)
    with pytest.raises(Invalid):
        apply_blob(tree, packer.compress(data) + packer.flush())
    dictionary = zstd.ZstdDict(os.urandom(1000), is_raw=True)
    trained = zstd.compress(archive(file("a", dictionary.dict_content * 3)), zstd_dict=dictionary)
    with pytest.raises((Invalid, DataLoss)):
        apply_blob(tree, trained)


@pytest.mark.parametrize(
    "bad",
    [
        header(b"a", checksum=1),
        header(b"a", size=b"-0000000001"),
        header(b"a", size=-1),
        header(b"a", size=1 << 80),
        header(b"a", size=b"9"),
        header(b"a", mode=b"rwx"),
        pax(size=b"5") + file("a", b"123"),
        pax(size=b"-1") + header(b"a"),
        pax(size=b"99999999999999999999") + header(b"a"),
        pax(mtime=b"soon") + header(b"a"),
        header(b"a", kind=b"S"),
        header(b"a", kind=b"Z"),
        pax(**{"GNU.sparse.major": b"1"}) + header(b"a"),
        pax(b"g", path=b"elsewhere") + header(b"a"),
        pax(path=b"a"),
        raw_pax(b"5 a=b"),
        raw_pax(b"99 a=b\n"),
        raw_pax(b"0 a=b\n"),
        raw_pax(b"junk"),
        header(b"pax", b"x", size=1 << 30),
    ],
)
def test_L14_headers_that_are_none_are_refused(tree: Path, bad: bytes) -> None:
    with pytest.raises((Invalid, DataLoss)):
        apply(tree, archive(bad))
    assert names(tree) == []


def test_L14_a_size_that_only_pax_can_tell_is_taken_from_there(tree: Path) -> None:
    with pytest.raises(Exhausted):
        apply(tree, archive(pax(size=b"%d" % (1 << 60)) + header(b"a")))


@pytest.mark.parametrize(
    "bad",
    [
        pax(path=b"a\0b") + header(b"a"),
        pax(path=b"../x") + header(b"a"),
        pax(path=b"x" * (1 << 20)) + header(b"a"),
        pax(path=b"x" * 256) + header(b"a"),
        pax(path=b"x/" * 2100) + header(b"a"),
        pax(linkpath=b"x" * 4097) + header(b"a", b"2"),
        tars.long_name(b"../x") + header(b"a"),
        symlink("a", ""),
    ],
)
def test_L15_names_that_are_none_are_refused(tree: Path, bad: bytes) -> None:
    with pytest.raises(Invalid):
        apply(tree, archive(bad))
    assert names(tree) == []
    assert untouched(tree)


def test_L15_names_are_bytes(tree: Path) -> None:
    apply(
        tree,
        archive(file(b"\xff\xfe"), file("é"), tars.long_name(b"n" * 200) + file(b"short"), file("p" * 150)),
    )
    assert sorted(os.listdir(os.fsencode(tree))) == [b"n" * 200, b"p" * 150, "é".encode(), b"\xff\xfe"]


def test_L16_sizes_counts_and_depths_have_limits(tree: Path) -> None:
    with pytest.raises(Exhausted):
        apply(tree, archive(header(b"a", size=1 << 62)))
    with pytest.raises(Exhausted, match="more than 10 files"):
        apply(tree, archive(*(file(f"f{n}") for n in range(11))), limits=Limits(entries=10))
    with pytest.raises(Exhausted, match="folders"):
        apply(tree, archive(*(folder(f"d{n}") for n in range(11))), limits=Limits(folders=10))
    with pytest.raises(Exhausted, match="deeper"):
        apply(tree, archive(file("d/" * 300 + "f")))


def test_L17_the_last_entry_wins_whatever_was_there(tree: Path) -> None:
    apply(
        tree,
        archive(
            file("a", b"1"),
            file("a", b"2"),
            folder("b"),
            file("b/x"),
            file("b", b"file"),
            file("c"),
            folder("c"),
        ),
    )
    assert (tree / "a").read_bytes() == b"2"
    assert (tree / "b").read_bytes() == b"file"
    assert (tree / "c").is_dir()
    apply(
        tree,
        archive(folder("real"), symlink("l", "real"), folder("l"), file("l/x"), symlink("real", "elsewhere")),
    )
    assert (tree / "l/x").exists()
    assert os.readlink(tree / "real") == "elsewhere"


def test_L17_a_file_below_a_file_is_refused(tree: Path) -> None:
    with pytest.raises(Invalid):
        apply(tree, archive(file("a")), archive(file("a/b")))


def test_L18_set_id_bits_and_attributes_are_dropped(tree: Path) -> None:
    attribute = pax(**{"SCHILY.xattr.security.capability": b"\1\0\0\2", "SCHILY.xattr.user.x": b"1"})
    apply(tree, archive(attribute, file("su", mode=0o6755), folder("tmp", mode=0o3777)))
    assert stat.S_IMODE(os.stat(tree / "su").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(tree / "tmp").st_mode) == 0o1777
    assert os.listxattr(tree / "su") == []


def test_L18_a_linux_images_set_id_bits_are_kept_for_root(tree: Path) -> None:
    data = archive(file("su", mode=0o6755), folder("mail", mode=0o2775), file("plain", mode=0o644))
    with Unpacker(str(tree), set_ids=True) as unpacker:
        unpacker.apply(io.BytesIO(data), len(data), digest_of(data))
        unpacker.finish()
    kept = os.geteuid() == 0
    assert stat.S_IMODE(os.stat(tree / "su").st_mode) == (0o6755 if kept else 0o755)
    assert stat.S_IMODE(os.stat(tree / "mail").st_mode) == (0o2775 if kept else 0o775)
    assert stat.S_IMODE(os.stat(tree / "plain").st_mode) == 0o644


@pytest.mark.parametrize(
    "name", ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy"]
)
def test_L18_overlay_attributes_are_refused(tree: Path, name: str) -> None:
    with pytest.raises(Invalid, match="overlay"):
        apply(tree, archive(pax(**{f"SCHILY.xattr.{name}": b"y"}), folder("d")))


@pytest.mark.parametrize("uid", [(1 << 32) - 1, 1 << 31, -1, 1 << 55])
def test_L19_owners_out_of_range_are_refused(tree: Path, uid: int) -> None:
    for bad in (file("a", uid=uid), file("a", gid=uid)):
        with pytest.raises(Invalid, match="owner"):
            apply(tree, archive(bad))
    if uid > 0:
        with pytest.raises(Invalid, match="owner"):
            apply(tree, archive(pax(uid=b"%d" % uid), file("a")))


def test_L20_names_are_compared_as_bytes(tree: Path) -> None:
    apply(tree, archive(file("A"), file("a"), file("é"), file("e\u0301"), file("K"), file("\u212a")))
    assert len(os.listdir(tree)) == 6


def test_L21_a_racer_that_swaps_a_folder_for_a_link_gains_nothing(tree: Path) -> None:
    victim = tree.parent / "victim"
    victim.mkdir()
    stop = threading.Event()

    def race() -> None:
        while not stop.is_set():
            try:
                os.rename(tree / "d", tree / "aside")
                os.symlink(victim, tree / "d")
                os.unlink(tree / "d")
                os.rename(tree / "aside", tree / "d")
            except OSError:
                continue

    data = archive(folder("d"), *(file(f"d/f{n}", b"x") for n in range(300)))
    racer = threading.Thread(target=race)
    racer.start()
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                apply(tree, data)
            except SampanError:
                continue
    finally:
        stop.set()
        racer.join()
    assert os.listdir(victim) == []
    assert (tree.parent / "secret").read_text() == "secret"


def test_L22_another_diff_id_is_data_loss(tree: Path) -> None:
    data = archive(file("a"))
    with pytest.raises(DataLoss, match="diff id"):
        apply_blob(tree, gzip.compress(data), digest_of(data + b"x"))
    apply_blob(tree, gzip.compress(data), digest_of(data, "sha512"))


def test_X1_a_full_disk_is_exhausted(tree: Path) -> None:
    """In a process of its own, in which every write fails as on a full disk."""
    script = (
        "import errno, io, os, sys\n"
        "from sampan.core.errors import Exhausted\n"
        "from sampan.image.unpack import Unpacker\n"
        "from sampan.testing.tars import archive, file\n"
        "def full(fd, data): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "os.write = full\n"
        "try:\n"
        "    with Unpacker(sys.argv[1]) as unpacker: unpacker.apply(io.BytesIO(archive(file('a', b'x'))), 2048, '')\n"
        "except Exhausted as error: sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tree)], check=False).returncode == 7


def test_single_files_are_written_read_only_and_inside(tree: Path) -> None:
    with Unpacker(str(tree), Limits(bytes=10)) as unpacker:
        unpacker.write_file("bin/app.wasm", [b"\0asm", b"rest"])
        unpacker.finish()
        for bad in ("../x", "", "/", "a/../b"):
            with pytest.raises(Invalid):
                unpacker.write_file(bad, [b""])
        with pytest.raises(Exhausted):
            unpacker.write_file("b", [b"too", b"much"])
    assert (tree / "bin/app.wasm").read_bytes() == b"\0asmrest"
    assert stat.S_IMODE(os.stat(tree / "bin/app.wasm").st_mode) == 0o444
    assert untouched(tree)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=1500), st.integers(0, 2000))
def test_L14_no_bytes_make_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, where: int
) -> None:
    good = archive(
        folder("d"), pax(path=b"d/long"), file("x", b"data"), symlink("l", "d"), hardlink("h", "d/long")
    )
    mutant = good[:where] + junk + good[where + len(junk) :]
    for data in (junk, mutant, gzip.compress(mutant, 1), gzip.compress(good, 1)[: where // 4] + junk):
        try:
            apply(tmp_path_factory.mktemp("fuzz"), data)
        except SampanError:
            continue


_FIELD = st.sampled_from(["a", "a/b", "../x", ".wh.a", "a/.wh..wh..opq", "/abs", "l/x", "", ".", "é" * 200])
_ENTRY = st.one_of(
    st.builds(file, _FIELD, st.binary(max_size=40), uid=st.integers(-1, 1 << 33)),
    st.builds(folder, _FIELD, mode=st.integers(0, 0o7777)),
    st.builds(symlink, _FIELD, _FIELD),
    st.builds(hardlink, _FIELD, _FIELD),
    st.builds(lambda p, s: pax(path=p.encode(), size=s), _FIELD, st.sampled_from([b"0", b"1", b"x", b"-1"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(_ENTRY, max_size=6), min_size=1, max_size=3))
def test_L1_no_layers_write_outside_or_make_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[bytes]]
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    (place / "root").mkdir()
    try:
        apply(place / "root", *(archive(*parts) for parts in layers))
    except SampanError:
        pass
    assert os.listdir(place) == ["root"]
