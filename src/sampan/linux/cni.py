"""The Container Network Interface, versions 0.3.0 to 1.1.0: configurations, what plugins are told, what they answer.

A network is a list of plugins in a file of the configuration folder. For ADD and CHECK they are called one after the
other, for DEL the other way round; each is a program that gets its part of the configuration on stdin and the rest in
its environment, and prints a result or an error. Running the programs is not done here.
"""

from __future__ import annotations

import _socket
import os

from sampan.core import strictjson
from sampan.core.errors import (
    DataLoss,
    Invalid,
    NotFound,
    Precondition,
    SampanError,
    Unavailable,
    from_os_error,
)
from sampan.core.record import Record
from sampan.linux.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADD, DEL, CHECK, STATUS = "ADD", "DEL", "CHECK", "STATUS"
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
ENDINGS = (".conf", ".conflist", ".json")
_SINCE = {ADD: "0.3.0", DEL: "0.3.0", CHECK: "0.4.0", STATUS: "1.1.0"}
_PREVIOUS_SINCE = "0.4.0"  # for DEL
_AGAIN = (11, 50, 51)  # error codes: try again later; STATUS: not available now
_OF_THE_CONFIGURATION = (1, 2, 4, 6, 7)


class Plugin(Record):
    """One plugin of a network: the name of its program, and which capabilities it has. The rest is its own."""

    type: str
    capabilities: dict[str, bool] = {}


class Network(Record, json={"version": "cniVersion"}):
    """A network: its name, the version of the protocol that is spoken, and its plugins in order."""

    name: str
    version: str
    plugins: list[Plugin]
    disable_check: bool = False

    def speaks(self, command: str) -> bool:
        """Whether its version of the protocol has a command."""
        if command == CHECK and self.disable_check:
            return False
        return VERSIONS.index(self.version) >= VERSIONS.index(_SINCE[command])


class Attachment(Record):
    """One interface of one container in a network: all that is needed to undo it.

    Attributes:
        netns: the path of the network namespace. args: for CNI_ARGS, by name. capabilities: values by the name of
            the capability, for plugins that have it. result: what ADD gave; None before it did.
    """

    network: Network
    container_id: str
    netns: str
    interface: str = "eth0"
    args: dict[str, str] = {}
    capabilities: dict[str, object] = {}
    result: dict[str, object] | None = None


def read_attachment(data: bytes, path: str) -> Attachment:
    """An attachment that was written down.

    Raises:
        Invalid, Exhausted: it is none.
    """
    attachment = Attachment.from_json(strictjson.loads(data, what=path))
    if attachment.network.version not in VERSIONS:
        raise Invalid(f"{path} is of CNI version {attachment.network.version[:60]}")
    for plugin in attachment.network.plugins:
        _plugin(plugin.to_json(), path)
    return attachment


class _Interface(Record):
    name: str
    sandbox: str = ""


class _Address(Record):
    address: str
    interface: int = -1


class _Result(Record):
    ips: list[_Address] = []
    interfaces: list[_Interface] = []


class _Failure(Record):
    code: int
    msg: str = ""
    details: str = ""


def load(folder: str) -> Network:
    """The network that the configuration folder sets up: the first valid file, in the order of the names.

    Raises:
        NotFound: there is no file. Invalid: none is valid; this is what is wrong with the first one.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS))
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise from_os_error(error, "list the CNI networks") from error
    first: SampanError | None = None
    for name in names:
        path = f"{folder}/{name}"
        try:
            network = parse(read_file(path, strictjson.MAX_BYTES), path)
            return _with_folder(network, f"{folder}/{network.name}")
        except OSError as error:
            first = first or from_os_error(error, f"read {path}")
        except SampanError as error:
            first = first or error
    if first is not None:
        raise Invalid(first.message, fix=first.fix)
    raise NotFound(f"no CNI network is configured in {folder}", fix="install a network plugin for the pods")


def _with_folder(network: Network, folder: str) -> Network:
    """With the plugins of a folder of the network's name, one a file, behind its own (since 1.1.0)."""
    alone = network.unknown.get("loadOnlyInlinedPlugins") is True
    if alone or network.version != VERSIONS[-1] or not os.path.isdir(folder):
        return network
    paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    more = [_plugin(strictjson.loads(read_file(path), what=path), path) for path in paths]
    return network.replace(plugins=[*network.plugins, *more])


def parse(data: bytes, path: str) -> Network:
    """The network of a configuration file; one that is not named `.conflist` may be a single plugin.

    Raises:
        Invalid: it is none, or of a version that is not spoken here. Exhausted: it is too large.
    """
    value = strictjson.loads(data, what=path)
    if not isinstance(value, dict):
        raise Invalid(f"{path} is no CNI configuration")
    if "plugins" not in value and not path.endswith(".conflist"):
        value = {"cniVersion": value.get("cniVersion"), "name": value.get("name"), "plugins": [value]}
    disabled = value.get("disableCheck")
    if isinstance(disabled, str):  # as some write it
        value = {**value, "disableCheck": disabled == "true"}
    value = {**value, "cniVersion": _version(value, path)}
    try:
        network = Network.from_json(value)
    except Invalid as error:
        raise Invalid(f"{path} is no CNI configuration: {error.message}") from error
    if not network.plugins or not _is_name(network.name):
        raise Invalid(f"{path} is no CNI configuration: it has no plugins, or no usable name")
    network.plugins = [_plugin(plugin.to_json(), path) for plugin in network.plugins]
    return network


def _version(value: dict[str, Any], path: str) -> str:
    """The newest version that the file allows and that is spoken here."""
    listed = value.get("cniVersions")
    allowed = [value.get("cniVersion"), *(listed if isinstance(listed, list) else [])]
    spoken = [version for version in VERSIONS if version in allowed]
    if not spoken:
        shown = ", ".join(str(version) for version in allowed)
        raise Invalid(f"{path} is of CNI version {shown[:60]}", fix=f"use {VERSIONS[0]} to {VERSIONS[-1]}")
    return spoken[-1]


def _plugin(value: object, path: str) -> Plugin:
    plugin = Plugin.from_json(value)
    if not _is_name(plugin.type):
        raise Invalid(f"{path} has a plugin whose type {plugin.type[:60]!r} is no name of a program")
    return plugin


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text


def find_program(plugin: str, folders: list[str]) -> str:
    """The path of a plugin's program.

    Raises:
        NotFound: it is in none of the folders.
    """
    for folder in folders:
        path = f"{folder}/{plugin}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise NotFound(f"the CNI plugin {plugin!r} is not in {', '.join(folders)}", fix="install it")


def check_args(args: dict[str, str]) -> None:
    """Refuses arguments that cannot be told.

    Raises:
        Invalid: one has a character that separates arguments.
    """
    for name, value in args.items():
        if any(mark in f"{name}{value}" for mark in ";=\0"):
            raise Invalid(f"the CNI argument {name}={value[:80]!r} has a ';', a '=' or a NUL in it")


def environment(command: str, attachment: Attachment, folders: list[str]) -> dict[str, str]:
    """What a plugin is told in its environment.

    Raises:
        Invalid: an argument has a character that separates arguments.
    """
    check_args(attachment.args)
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": attachment.interface,
        "CNI_ARGS": ";".join(f"{name}={value}" for name, value in attachment.args.items()),
        "CNI_PATH": ":".join(folders),
    }


def request(
    command: str, attachment: Attachment, plugin: Plugin, previous: dict[str, object] | None
) -> bytes:
    """What a plugin gets on stdin.

    Args:
        previous: the result of the plugin before it (ADD) or of all (CHECK, DEL); None where there is none.
    """
    network = attachment.network
    value = plugin.to_json()
    value.pop("capabilities", None)
    value |= {"cniVersion": network.version, "name": network.name}
    granted = {
        name: attachment.capabilities[name]
        for name, has in plugin.capabilities.items()
        if has and name in attachment.capabilities
    }
    if granted:
        value["runtimeConfig"] = granted
    is_early = VERSIONS.index(network.version) < VERSIONS.index(_PREVIOUS_SINCE)
    if previous is not None and not (command == DEL and is_early):
        value["prevResult"] = {**previous, "cniVersion": network.version}
    return strictjson.dumps(value)


def read_result(data: bytes, plugin: str) -> dict[str, object]:
    """What a plugin printed when ADD went well.

    Raises:
        DataLoss: it is no result.
    """
    try:
        value: dict[str, object] = strictjson.loads(data, what="it")
        addresses(value, "")
    except SampanError as error:
        raise DataLoss(f"the CNI plugin {plugin!r} printed no result: {error.message}") from error
    return value


def read_failure(command: str, network: str, plugin: str, code: int, out: bytes, err: bytes) -> SampanError:
    """The error that a plugin ended with: what it printed, whatever that is.

    Args:
        code: of its exit, negative for a signal. out, err: what it wrote.
    """
    what = f"the CNI plugin {plugin!r} of network {network!r} failed ({command})"
    try:
        failure = _Failure.from_json(strictjson.loads(out, what="it"))
    except SampanError:
        ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
        said = (err or out).strip().decode(errors="backslashreplace")
        return Unavailable(f"{what}: {ended}" + (f", {said[-400:]}" if said else ""))
    text = ": ".join(part for part in (what, failure.msg, failure.details) if part)
    if failure.code in _OF_THE_CONFIGURATION:
        return Precondition(text, fix="correct the CNI configuration")
    return Unavailable(f"{text} (not now)" if failure.code in _AGAIN else text)


def addresses(result: dict[str, object], interface: str) -> list[str]:
    """The addresses of an interface inside, without the lengths of their prefixes: those of IPv4 first.

    Raises:
        Invalid: it is no result.
    """
    shown = _Result.from_json(result)
    found = []
    for ip in shown.ips:
        if not -1 <= ip.interface < len(shown.interfaces):
            raise Invalid(f"the address {ip.address[:60]!r} is of an interface that is not there")
        owner = shown.interfaces[ip.interface] if ip.interface >= 0 else None
        address = _checked(ip.address)
        if owner is None or (owner.name == interface and owner.sandbox):
            found.append(address)
    return sorted(found, key=lambda address: ":" in address)


def _checked(text: str) -> str:
    address = text.partition("/")[0]
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    try:
        _socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise Invalid(f"{text[:60]!r} is no address") from None
    return address
