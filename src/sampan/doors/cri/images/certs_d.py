"""containerd's settings of registries, `certs.d/HOST/hosts.toml`, taken over into ours: nodes have them already.

    server = "https://registry.example"

    [host."http://mirror.example:5000"]
      capabilities = ["pull", "resolve"]
      skip_verify = true
      ca = "mirror.crt"

Where there is no such file, the folder's certificates count (`HOST/ca.crt`). A host that may not both pull and resolve
is left out, for a pull of ours asks one place for everything; what would change requests in ways that ours cannot
(client certificates, headers) is refused by name. containerd's docs/hosts.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.core.errors import Invalid, Unimplemented, from_os_error
from sampan.image.registry.settings import API_HOSTS, RegistryOptions

if TYPE_CHECKING:
    from typing import Any

    from sampan.image.registry.settings import Settings

FOLDER = "/etc/containerd/certs.d"
FILE = "hosts.toml"
ANY = "_default"
NEEDED = {"pull", "resolve"}
REFUSED = ("client", "header")
MAX_BYTES = 1 << 20


def add_hosts(settings: Settings, folder: str, registry: str) -> None:
    """Adds the mirrors of a registry, and how to reach them, to settings that have not.

    Args:
        folder: `certs.d`; one that is not there adds nothing.

    Raises:
        Invalid: the file is not as containerd's documents say. Unimplemented: it asks for what we do not have.
    """
    if folder:
        settings.certificate_folders = [*settings.certificate_folders, folder]
    path = _file_of(folder, registry)
    document = _read(path) if path else {}
    hosts = _table(document.get("host", {}), f"host in {path}")
    places = [(url, _table(table, f'[host."{url}"] in {path}')) for url, table in hosts.items()]
    if server := _text(document.get("server", ""), f"server in {path}"):
        places.append((server, {k: v for k, v in document.items() if k not in ("host", "server")}))
    own = (registry, API_HOSTS.get(registry, registry))
    options = settings.registries.get(registry) or RegistryOptions()
    mirrors = list(options.mirrors)
    for url, table in places:
        where = f'[host."{url}"] in {path}'
        if not set(_texts(table.get("capabilities", list(NEEDED)), f"capabilities of {where}")) >= NEEDED:
            continue
        name, host = _mirror(url, override=table.get("override_path") is True, where=where)
        _add_options(settings, host, table, os.path.dirname(path), where)
        if name.partition("://")[2] not in own or name.startswith("http://"):
            mirrors.append(name)
    if mirrors:
        options = settings.registries.get(registry) or RegistryOptions()
        settings.registries[registry] = options.replace(mirrors=list(dict.fromkeys(mirrors)))


def _file_of(folder: str, registry: str) -> str:
    """The file for a registry, "" where there is none; a colon cannot be in the folder's name everywhere."""
    names = [registry, registry.replace(":", "_") + "_", ANY] if ":" in registry else [registry, ANY]
    paths = (f"{folder}/{name}/{FILE}" for name in names)
    return next((path for path in paths if folder and os.path.isfile(path)), "")


def _read(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.loads(file.read(MAX_BYTES).decode())
    except OSError as error:
        raise from_os_error(error, "read the registries' settings") from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not TOML: {error}") from error


def _mirror(url: str, *, override: bool, where: str) -> tuple[str, str]:
    """What our settings call a mirror (`http://host:port/prefix`), and its host.

    containerd puts `/v2` behind the path of a URL that does not override it, ours puts a prefix behind `/v2`.
    """
    scheme, separator, rest = url.rpartition("://")
    host, _, path = rest.rstrip("/").partition("/")
    if not host or (separator and scheme not in ("http", "https")):
        raise Invalid(f"{where} is not the URL of a registry")
    prefix = path.removeprefix("v2").strip("/") if override and f"{path}/".startswith("v2/") else path
    if prefix == path and path:
        raise Unimplemented(
            f"{where}: a path can be had below /v2 only",
            fix='write it as "…/v2/PATH" with override_path = true',
        )
    return f"{scheme or 'https'}://{host}" + (f"/{prefix}" if prefix else ""), host


def _add_options(settings: Settings, host: str, table: dict[str, Any], folder: str, where: str) -> None:
    for key in REFUSED:
        if table.get(key):
            raise Unimplemented(
                f"{where}: {key} cannot be had", fix="put it into registries.toml or certs.d files"
            )
    files = table.get("ca", [])
    authorities = _texts([files] if isinstance(files, str) else files, f"ca of {where}")
    if len(authorities) > 1:
        raise Unimplemented(f"{where} names {len(authorities)} CAs", fix="put them into one file")
    options = settings.registries.get(host) or RegistryOptions()
    if table.get("skip_verify") is True:
        options = options.replace(skip_tls_verify=True)
    if authorities:
        options = options.replace(ca=os.path.join(folder, authorities[0]))
    settings.registries[host] = options


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not a table")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{what} is not a text")
    return value


def _texts(value: object, what: str) -> list[str]:
    if not isinstance(value, list):
        raise Invalid(f"{what} is not a list")
    return [_text(each, what) for each in value]
