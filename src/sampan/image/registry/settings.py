"""What the user says of registries: mirrors, plain http, own CAs; and where Docker and podman keep certificates.

A file `registries.toml` has one table per registry, named as in references:

    [registries."docker.io"]
    mirrors = ["mirror.example:5000", "proxy.example/docker"]  # tried in this order, then the registry itself

    [registries."registry.example:5000"]
    plain_http = false          # http only
    skip_tls_verify = false     # https with any certificate
    ca = "/etc/ssl/example.crt" # trusted besides the system's
    token_hosts = ["login.example.net"]  # may be given this registry's credentials

A mirror is a registry too: its own table, if it has one, says how to reach it. Refuses what it does not know.
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, from_os_error
from sampan.core.record import Record
from sampan.core.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_FILE = "/etc/sampan/registries.toml"
CERTIFICATE_FOLDERS = ["/etc/containers/certs.d", "/etc/docker/certs.d"]
API_HOSTS = {"docker.io": "registry-1.docker.io"}
MAX_BYTES = 1 << 20


class RegistryOptions(Record, case=str):
    """One registry's table in `registries.toml`."""

    mirrors: list[str] = []
    plain_http: bool = False
    skip_tls_verify: bool = False
    ca: str = ""
    token_hosts: list[str] = []


class Endpoint(Record):
    """One server that can answer for a registry.

    `host` is `name[:port]`; `prefix` stands before the repository on a mirror; `account` is the name under which
    the credentials are kept; `schemes` are tried in order.
    """

    host: str
    account: str
    schemes: list[str]
    options: RegistryOptions
    prefix: str = ""

    def repository(self, repository: str) -> str:
        """The repository's name on this server."""
        return f"{self.prefix}/{repository}" if self.prefix else repository


class Settings(Record):
    """All registries' options, and the `certs.d` folders."""

    registries: dict[str, RegistryOptions] = {}
    certificate_folders: list[str] = []

    def endpoints(self, registry: str) -> list[Endpoint]:
        """The servers to ask for what `registry` has: its mirrors in order, then itself."""
        return [self.endpoint(mirror) for mirror in self._options(registry).mirrors] + [
            self.endpoint(registry)
        ]

    def endpoint(self, name: str) -> Endpoint:
        """The server called `name`: `host[:port]`, for a mirror also `http://host[:port]/prefix`.

        Raises:
            Invalid: not such a name.
        """
        scheme, separator, rest = name.rpartition("://")
        host, _, prefix = rest.rstrip("/").partition("/")
        if not host or "@" in host or (separator and scheme not in ("http", "https")):
            raise Invalid(f"{name[:80]!r} is not a registry's name", fix="host:port and host:port/prefix are")
        options = self._options(host)
        if scheme == "http" or options.plain_http:
            schemes = ["http"]
        elif is_loopback(host) and not scheme:
            schemes = ["https", "http"]
        else:
            schemes = ["https"]
        return Endpoint(API_HOSTS.get(host, host), host, schemes, options, prefix)

    def trust(self, host: str, port: int) -> Trust:
        """What `host:port` may prove itself by: its table's `ca`, and the files in `certs.d/HOST`."""
        shown = f"[{host}]" if ":" in host else host
        names = [f"{shown}:{port}"] + ([shown] if port in (80, 443) else [])
        names += [registry for registry, api in API_HOSTS.items() if api in names]
        trust = Trust()
        for name in names:
            options = self._options(name)
            trust.skip_verify |= options.skip_tls_verify
            trust.authorities += [options.ca] if options.ca else []
            for above in self.certificate_folders:
                self._add_folder(trust, f"{above}/{name}")
        return trust

    def _add_folder(self, trust: Trust, folder: str) -> None:
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise from_os_error(error, "read a registry's certificates") from error
        trust.authorities += [f"{folder}/{n}" for n in names if n.endswith(".crt")]
        trust.clients += [f"{folder}/{n[:-5]}" for n in names if n.endswith(".cert")]

    def _options(self, name: str) -> RegistryOptions:
        return self.registries.get(name) or RegistryOptions()


class Trust(Record):
    """Files with CAs to trust, and stems of client certificates (`STEM.cert` with `STEM.key`)."""

    skip_verify: bool = False
    authorities: list[str] = []
    clients: list[str] = []


def load_settings(env: Mapping[str, str]) -> Settings:
    """The settings of a user: `SAMPAN_REGISTRIES` alone if set, else the system's file and then the user's.

    A registry's table in the user's file takes the place of the system's.

    Raises:
        Invalid: a file is not as described above; the message says where.
        NotFound: the file that `SAMPAN_REGISTRIES` names is not there.
    """
    settings = Settings(certificate_folders=list(CERTIFICATE_FOLDERS))
    if chosen := env.get("SAMPAN_REGISTRIES"):
        settings.registries = read_registries(chosen)
        return settings
    home = env.get("XDG_CONFIG_HOME") or env.get("HOME", "") + "/.config"
    for path in (SYSTEM_FILE, f"{home}/sampan/registries.toml"):
        if os.path.exists(path):
            settings.registries.update(read_registries(path))
    return settings


def read_registries(path: str) -> dict[str, RegistryOptions]:
    """The tables of one `registries.toml`.

    Raises:
        Invalid: not TOML, or a key or type that this module does not know.
        NotFound, Denied: the file cannot be read.
    """
    import tomllib

    try:
        with open(path, "rb") as file:
            document = tomllib.loads(file.read(MAX_BYTES).decode())
    except OSError as error:
        raise from_os_error(error, "read the registries' settings") from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not TOML: {error}") from error
    tables = document.pop("registries", {})
    _refuse_unknown(document, path)
    if not isinstance(tables, dict):
        raise Invalid(f"registries in {path} is not a table", fix='write [registries."HOST"]')
    registries = {}
    for name, table in tables.items():
        options = RegistryOptions.from_json(table, f'{path}: registries."{name}"')
        _refuse_unknown(options.unknown, f'{path}: registries."{name}"')
        registries[name] = options
    return registries


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by its very spelling, without asking any name service."""
    return is_loopback_name(host_name(host))


def is_loopback_name(name: str) -> bool:
    """The same of a host name or address that stands alone."""
    return name in ("localhost", "::1") or (name.startswith("127.") and name.replace(".", "").isdigit())


def parse_registry(text: str) -> str:
    """The registry that people mean by `HOST[:PORT]`, or by a URL at it, when they log in.

    Raises:
        Invalid: not a host that a reference can name.
    """
    host = (text.partition("://")[2] or text).partition("/")[0]
    if not ("." in host or ":" in host or host == "localhost"):
        raise Invalid(f"{text[:80]!r} is not a registry", fix="write HOST:PORT, or a host with a dot in it")
    return parse_reference(f"{host}/x").registry


def registry_name(url: str) -> str:
    """The registry, as references name it, that a URL at its server belongs to."""
    host = url.partition("://")[2].partition("/")[0]
    return next((registry for registry, api in API_HOSTS.items() if api == host), host)


def host_name(host: str) -> str:
    """`host[:port]` without the port and without the brackets of an IPv6 address, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _refuse_unknown(unknown: Mapping[str, object], where: str) -> None:
    if unknown:
        known = ", ".join(RegistryOptions._names)
        raise Invalid(f"{where} has the unknown key {sorted(unknown)[0]!r}", fix=f"these are known: {known}")
