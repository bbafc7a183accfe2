"""CNI as values: configurations, requests, results and errors, malformed ones above all."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError, Unavailable
from sampan.linux import cni
from sampan.linux.cni import ADD, CHECK, DEL, STATUS, Attachment, Network, Plugin

LIST = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}},
        {"type": "portmap", "capabilities": {"portMappings": True, "dns": False}},
    ],
}
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "cni0", "mac": "x"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
    "ips": [
        {"address": "fd00::2/64", "interface": 1},
        {"address": "10.1.0.2/24", "interface": 1, "gateway": "10.1.0.1"},
        {"address": "10.1.0.1/24", "interface": 0},
    ],
}


def parsed(path="x.conflist", **changes) -> Network:
    return cni.parse(json.dumps({**LIST, **changes}).encode(), path)


def attachment(network=None, **fields) -> Attachment:
    return Attachment(network or parsed(), "0123abcd", "/run/x/net", **fields)


def write(folder, name, value) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / name).write_text(text)


# -- configurations


def test_a_list_is_read_with_all_that_is_its_plugins_own():
    network = parsed()
    assert (network.name, network.version) == ("pods", "1.0.0")
    assert [plugin.type for plugin in network.plugins] == ["bridge", "portmap"]
    assert network.plugins[0].to_json() == LIST["plugins"][0]
    assert network.plugins[1].capabilities == {"portMappings": True, "dns": False}


def test_a_single_plugin_is_a_network_of_one():
    network = cni.parse(b'{"cniVersion": "0.3.1", "name": "one", "type": "ptp", "mtu": 1400}', "x.conf")
    assert (network.name, network.version) == ("one", "0.3.1")
    assert [(plugin.type, plugin.unknown["mtu"]) for plugin in network.plugins] == [("ptp", 1400)]


@pytest.mark.parametrize(
    ("version", "listed", "spoken"),
    [
        ("0.3.1", None, "0.3.1"),
        ("1.1.0", None, "1.1.0"),
        ("0.4.0", ["0.4.0", "1.0.0", "9.0.0"], "1.0.0"),
        ("9.0.0", ["0.3.0"], "0.3.0"),
    ],
)
def test_the_newest_version_that_both_speak(version, listed, spoken):
    changes = {"cniVersion": version} | ({"cniVersions": listed} if listed else {})
    assert parsed(**changes).version == spoken


@pytest.mark.parametrize(
    "changes",
    [
        {"cniVersion": "0.2.0"},
        {"cniVersion": "2.0.0"},
        {"cniVersion": None},
        {"cniVersion": 1},
        {"cniVersions": "1.0.0", "cniVersion": "x"},
        {"name": ""},
        {"name": "../x"},
        {"name": ".."},
        {"name": None},
        {"name": 7},
        {"plugins": []},
        {"plugins": {}},
        {"plugins": ["bridge"]},
        {"plugins": [{}]},
        {"plugins": [{"type": ""}]},
        {"plugins": [{"type": "../../bin/sh"}]},
        {"plugins": [{"type": "/bin/sh"}]},
        {"plugins": [{"type": ".."}]},
        {"plugins": [{"type": "a\0b"}]},
        {"plugins": [{"type": "x", "capabilities": ["portMappings"]}]},
        {"plugins": [{"type": "x", "capabilities": {"portMappings": "yes"}}]},
    ],
)
def test_a_malformed_configuration_is_refused_by_name(changes):
    with pytest.raises(Invalid, match=r"x\.conflist|at \$"):
        parsed(**changes)


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["1.0.0", "bridge"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["cniVersion", "name", "plugins", "type", "capabilities"]), inner),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_whatever_is_in_a_file_is_a_network_or_an_error(data):
    for path in ("x.conflist", "x.conf"):
        try:
            network = cni.parse(data, path)
        except SampanError:
            continue
        assert network.plugins and network.version in cni.VERSIONS


def test_the_first_valid_file_in_the_order_of_names(tmp_path):
    write(tmp_path, "00-notes.txt", {**LIST, "name": "text"})
    write(tmp_path, "05-broken.conflist", "{")
    write(tmp_path, "20-second.conflist", {**LIST, "name": "second"})
    write(tmp_path, "10-first.conf", {"cniVersion": "1.0.0", "name": "first", "type": "ptp"})
    (tmp_path / "07-folder.conf").mkdir()
    assert cni.load(str(tmp_path)).name == "first"


def test_without_any_valid_file_the_first_ones_fault_is_told(tmp_path):
    write(tmp_path, "10-a.conflist", {**LIST, "plugins": []})
    write(tmp_path, "20-b.conflist", "{")
    with pytest.raises(Invalid, match=r"10-a\.conflist"):
        cni.load(str(tmp_path))


@pytest.mark.parametrize("folder", ["", "/nothing"])
def test_without_a_file_the_folder_is_named(tmp_path, folder):
    with pytest.raises(NotFound, match="no CNI network is configured in"):
        cni.load(f"{tmp_path}{folder}")


def test_since_1_1_a_folder_of_the_networks_name_has_more_plugins(tmp_path):
    (tmp_path / "pods").mkdir()
    write(tmp_path / "pods", "20-b.conf", {"type": "tuning"})
    write(tmp_path / "pods", "10-a.conf", {"type": "bandwidth"})
    write(tmp_path / "pods", "notes", "no plugin")
    for changes, expected in [
        ({"cniVersion": "1.1.0"}, ["bridge", "portmap", "bandwidth", "tuning"]),
        ({"cniVersion": "1.1.0", "loadOnlyInlinedPlugins": True}, ["bridge", "portmap"]),
        ({"cniVersion": "1.0.0"}, ["bridge", "portmap"]),
    ]:
        write(tmp_path, "x.conflist", {**LIST, **changes})
        assert [plugin.type for plugin in cni.load(str(tmp_path)).plugins] == expected


@pytest.mark.parametrize(
    ("changes", "spoken"),
    [
        ({"cniVersion": "0.3.1"}, {ADD, DEL}),
        ({"cniVersion": "0.4.0"}, {ADD, DEL, CHECK}),
        ({"cniVersion": "0.4.0", "disableCheck": True}, {ADD, DEL}),
        ({"cniVersion": "1.0.0", "disableCheck": "true"}, {ADD, DEL}),
        ({"cniVersion": "1.0.0", "disableCheck": "false"}, {ADD, DEL, CHECK}),
        ({"cniVersion": "1.1.0"}, {ADD, DEL, CHECK, STATUS}),
    ],
)
def test_which_commands_a_network_speaks(changes, spoken):
    network = parsed(**changes)
    assert {command for command in (ADD, DEL, CHECK, STATUS) if network.speaks(command)} == spoken


# -- programs


def test_a_program_is_found_in_the_first_folder_that_can_run_it(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "bridge").write_text("not executable")
    (folders[1] / "bridge").mkdir()
    (folders[2] / "bridge").touch(0o755)
    names = [str(folder) for folder in folders]
    if os.geteuid() == 0:  # root may run what has any x bit, and this has none
        assert not os.access(folders[0] / "bridge", os.X_OK)
    assert cni.find_program("bridge", names) == f"{folders[2]}/bridge"
    with pytest.raises(NotFound, match="'ptp' is not in"):
        cni.find_program("ptp", names)


# -- requests


def test_the_environment_says_what_is_wanted():
    wish = attachment(args={"IgnoreUnknown": "1", "K8S_POD_NAME": "web"})
    assert cni.environment(ADD, wish, ["/opt/cni/bin", "/usr/lib/cni"]) == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "0123abcd",
        "CNI_NETNS": "/run/x/net",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
        "CNI_PATH": "/opt/cni/bin:/usr/lib/cni",
    }


@pytest.mark.parametrize("value", ["a;K8S_POD_NAMESPACE=kube-system", "a=b", "a\0b"])
def test_no_name_of_a_pod_makes_another_argument(value):
    with pytest.raises(Invalid, match="K8S_POD_NAME"):
        cni.environment(ADD, attachment(args={"K8S_POD_NAME": value}), [])


def test_the_first_plugin_gets_its_own_part():
    wish = attachment(capabilities={"portMappings": [1]})
    assert json.loads(cni.request(ADD, wish, wish.network.plugins[0], None)) == {
        "type": "bridge",
        "bridge": "cni0",
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"},
        "cniVersion": "1.0.0",
        "name": "pods",
    }


def test_a_later_one_gets_the_result_before_it_and_what_it_can_do():
    wish = attachment(capabilities={"portMappings": [{"hostPort": 80}], "dns": {"servers": []}, "mac": "x"})
    previous = {**RESULT, "cniVersion": "0.3.1"}
    assert json.loads(cni.request(ADD, wish, wish.network.plugins[1], previous)) == {
        "type": "portmap",
        "cniVersion": "1.0.0",
        "name": "pods",
        "runtimeConfig": {"portMappings": [{"hostPort": 80}]},
        "prevResult": RESULT,
    }


@pytest.mark.parametrize(("version", "has"), [("0.3.1", False), ("0.4.0", True), ("1.1.0", True)])
def test_the_result_comes_with_DEL_since_0_4(version, has):
    wish = attachment(parsed(cniVersion=version))
    sent = json.loads(cni.request(DEL, wish, wish.network.plugins[0], RESULT))
    assert ("prevResult" in sent) is has


def test_an_attachment_that_was_written_down_is_the_same():
    wish = attachment(capabilities={"dns": {"servers": ["10.0.0.10"]}}, args={"a": "b"}, result=RESULT)
    again = cni.read_attachment(json.dumps(wish.to_json()).encode(), "cni.json")
    assert again == wish
    for plugin, same in zip(wish.network.plugins, again.network.plugins, strict=True):
        assert cni.request(DEL, wish, plugin, wish.result) == cni.request(DEL, again, same, again.result)


@given(st.data())
def test_F10_a_damaged_record_is_an_error_or_can_be_used(data):
    raw = bytearray(json.dumps(attachment(result=RESULT).to_json()).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = cni.read_attachment(bytes(raw[: data.draw(st.integers(0, len(raw)))]), "cni.json")
    except SampanError:
        return
    for plugin in again.network.plugins:
        assert cni.request(DEL, again, plugin, again.result)


# -- results and errors


def test_addresses_of_the_interface_inside_with_IPv4_first():
    result = cni.read_result(json.dumps(RESULT).encode(), "bridge")
    assert cni.addresses(result, "eth0") == ["10.1.0.2", "fd00::2"]
    assert cni.addresses(result, "eth1") == []


def test_an_address_of_no_interface_is_the_pods():
    assert cni.addresses({"ips": [{"address": "10.1.0.2/32", "interface": None}]}, "eth0") == ["10.1.0.2"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"ok",
        b"[]",
        b"{",
        b"null",
        b"\xff",
        b'{"ips": {}}',
        b'{"ips": [{"address": "ten/24"}]}',
        b'{"ips": [{"address": "10.1.0.2/24", "interface": 3}]}',
        b'{"ips": [{"address": "10.1.0.2/24", "interface": -2}]}',
        b'{"ips": [{}]}',
        b'{"interfaces": [{}]}',
        b'{"a": 1, "a": 2}',
        b'{"ips": []}{"ips": []}',
        b"[" * 10_000,
    ],
)
def test_what_is_no_result_is_named(text):
    with pytest.raises(DataLoss, match="'bridge' printed no result"):
        cni.read_result(text, "bridge")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(7, Precondition), (1, Precondition), (11, Unavailable), (50, Unavailable), (999, Unavailable)],
)
def test_a_plugins_error_has_its_words_the_plugin_and_the_network(code, kind):
    out = json.dumps({"cniVersion": "1.0.0", "code": code, "msg": "no room", "details": "in 10.1.0.0/24"})
    error = cni.read_failure(ADD, "pods", "bridge", 1, out.encode(), b"")
    assert type(error) is kind
    for word in ("'bridge'", "'pods'", "ADD", "no room: in 10.1.0.0/24"):
        assert word in str(error)


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (1, b"", b"", "exit code 1"),
        (-9, b"", b"", "signal 9"),
        (2, b"Traceback", b"", "Traceback"),
        (2, b"", b"panic: nil map\n", "panic: nil map"),
        (2, b'{"code": "7"}', b"", '{"code": "7"}'),
        (2, b"\xff\0\xfe", b"", r"\xff"),
        (2, b"x" * 100_000, b"", "xxx"),
    ],
)
def test_an_error_that_is_none_is_told_as_it_is(code, out, err, said):
    error = cni.read_failure(DEL, "pods", "bridge", code, out, err)
    assert isinstance(error, Unavailable)
    assert said in str(error)
    assert len(error.message) < 1000


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(-64, 255))
def test_whatever_a_plugin_prints_its_failure_is_one_error(out, err, code):
    assert "'p'" in str(cni.read_failure(ADD, "n", "p", code, out, err))


def test_a_plugin_keeps_what_it_does_not_know():
    assert Plugin.from_json({"type": "x", "deep": {"a": [1, None]}}).to_json() == {
        "type": "x",
        "deep": {"a": [1, None]},
    }
