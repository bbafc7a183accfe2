"""Who we are at registries: Docker's `config.json`, podman's `auth.json` and credential helpers.

Secrets pass through files of mode 0600 and pipes only: never through arguments, the environment or error texts.
A file that others can read is reported, not refused, as Docker does.
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, NotFound, Unavailable, from_os_error
from sampan.core.record import Record
from sampan.core.strictjson import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from subprocess import CompletedProcess
    from typing import Any

LEGACY_KEYS = {"docker.io": "https://index.docker.io/v1/"}
TOKEN_USER = "<token>"  # noqa: S105 - how helpers mark an identity token
HELPER_TIMEOUT = 120.0  # a helper may ask its user for a passphrase


class Credential(Record):
    """What to prove oneself with: user and password, or a token; empty where anonymous."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __bool__(self) -> bool:
        return bool(self.password or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, ...)"


ANONYMOUS = Credential()


class Credentials:
    """The credentials of one user: looked up in `files` in order, written to the first.

    Args:
        files: paths of `config.json` files; those that are not there count as empty.
        warn: is told of a file that others can read.
    """

    def __init__(self, files: list[str], warn: Callable[[str], None] = lambda _: None) -> None:
        self.files = files
        self._warn = warn

    def find(self, registry: str, repository: str = "") -> Credential:
        """The credential for a registry, or for a part of it (podman's `host/name` keys); the longest key wins.

        Raises:
            Invalid: a file is not valid JSON, or an entry in it cannot be read.
            NotFound: the helper that the file names is not installed.
            Unavailable: the helper failed.
        """
        for path in self.files:
            config = self._read(path)
            helper = _helper(config, registry)
            found = ask_helper(helper, server_key(registry)) if helper else ANONYMOUS
            found = found or _stored(config, registry, repository, path)
            if found:
                return found
        return ANONYMOUS

    def store(self, registry: str, credential: Credential) -> None:
        """Keep a credential that the registry accepted: in the helper for this registry, else in the file.

        Raises:
            SampanError: as `find`, or the file cannot be written.
        """
        with _locked_folder(self.files[0]):
            config = self._read(self.files[0])
            helper = _helper(config, registry)
            key = server_key(registry)
            entry: dict[str, str] = {}
            if helper:
                _tell_helper(helper, "store", key, credential)
            else:
                entry = _entry(credential)
            self._write({**config, "auths": {**_section(config, "auths"), key: entry}})

    def erase(self, registry: str) -> bool:
        """Forget a registry's credential; false if there was none."""
        with _locked_folder(self.files[0]):
            config = self._read(self.files[0])
            helper = _helper(config, registry)
            held = bool(helper and ask_helper(helper, server_key(registry)))
            if helper and held:
                _answer(_run_helper(helper, "erase", server_key(registry).encode()))
            auths = _section(config, "auths")
            left = {key: entry for key, entry in auths.items() if _host_of(key) != registry}
            if left != auths:
                self._write({**config, "auths": left})
            return held or left != auths

    def _read(self, path: str) -> dict[str, Any]:
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    self._warn(f"{path} holds credentials and others can read it; chmod 600 {path}")
                data = file.read(1 << 22)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise from_os_error(error, "read the registries' credentials") from error
        config = loads(data, what=path) if data.strip() else {}
        if not isinstance(config, dict):
            raise Invalid(f"{path} is not a JSON object")
        return config

    def _write(self, config: dict[str, Any]) -> None:
        import json

        from sampan.linux.durable import write_file

        text = json.dumps(config, indent="\t", ensure_ascii=False)
        write_file(os.path.realpath(self.files[0]), text.encode(), 0o600)


def default_files(env: Mapping[str, str]) -> list[str]:
    """Where a user's credentials are: `REGISTRY_AUTH_FILE` alone if set, else Docker's file, then podman's."""
    if chosen := env.get("REGISTRY_AUTH_FILE"):
        return [chosen]
    folder = env.get("DOCKER_CONFIG") or env.get("HOME", "") + "/.docker"
    files = [f"{folder}/config.json"]
    if runtime := env.get("XDG_RUNTIME_DIR"):
        files.append(f"{runtime}/containers/auth.json")
    return files


def server_key(registry: str) -> str:
    """The name under which a registry is kept."""
    return LEGACY_KEYS.get(registry, registry)


def ask_helper(helper: str, server: str) -> Credential:
    """What `docker-credential-HELPER get` knows of a server; anonymous if nothing.

    Raises:
        Invalid: the helper's name or answer is not one.
        NotFound: the helper is not installed.
        Unavailable: it failed or did not answer in time.
    """
    done = _run_helper(helper, "get", server.encode())
    if done.returncode and b"credentials not found" in done.stdout:
        return ANONYMOUS
    document = loads(_answer(done), what=f"the answer of docker-credential-{helper}")
    user, secret = (document.get(k) for k in ("Username", "Secret")) if isinstance(document, dict) else (0, 0)
    if not isinstance(user, str) or not isinstance(secret, str):
        raise Invalid(f"docker-credential-{helper} answers without Username and Secret")
    return Credential(identity_token=secret) if user == TOKEN_USER else Credential(user, secret)


def _tell_helper(helper: str, verb: str, server: str, credential: Credential) -> None:
    from sampan.core.strictjson import dumps

    user = TOKEN_USER if credential.identity_token else credential.username
    secret = credential.identity_token or credential.password
    _answer(_run_helper(helper, verb, dumps({"ServerURL": server, "Username": user, "Secret": secret})))


def _run_helper(helper: str, verb: str, text: bytes) -> CompletedProcess[bytes]:
    import subprocess

    program = f"docker-credential-{helper}"
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise Invalid(f"{helper[:60]!r} is not the name of a credential helper")
    try:
        return subprocess.run(
            [program, verb], input=text, capture_output=True, timeout=HELPER_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise NotFound(
            f"the credential helper {program} is not installed",
            fix="install it, or take it out of credsStore and credHelpers",
        ) from error
    except OSError as error:
        raise from_os_error(error, f"run {program}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{program} {verb} did not answer in {HELPER_TIMEOUT:.0f} s") from error


def _answer(done: CompletedProcess[bytes]) -> bytes:
    """What a helper printed. A failing `get` prints an error there, never a secret; stderr is anyone's."""
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()[:200] or f"exit status {done.returncode}"
        raise Unavailable(f"{' '.join(done.args)} failed: {said}")
    return done.stdout


def _helper(config: dict[str, Any], registry: str) -> str:
    """The helper responsible for a registry, or an empty text."""
    helpers = _section(config, "credHelpers")
    chosen = helpers.get(server_key(registry), helpers.get(registry, config.get("credsStore", "")))
    if not isinstance(chosen, str):
        raise Invalid(f"the credential helper for {registry} is not a string")
    return chosen


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise Invalid(f"{name!r} in the registries' credentials is not an object")
    return section


def _stored(config: dict[str, Any], registry: str, repository: str, path: str) -> Credential:
    auths = _section(config, "auths")
    name = f"{registry}/{repository}" if repository else registry
    while name:
        for key in auths:
            if (key == name or _host_of(key) == name) and (found := _decoded(auths[key], key, path)):
                return found
        name = name.rpartition("/")[0]
    return ANONYMOUS


def _host_of(key: str) -> str:
    """The registry of a key in `auths`: old ones are URLs such as `https://HOST/v1/`."""
    head, separator, rest = key.partition("://")
    if key in LEGACY_KEYS.values():
        return next(host for host, legacy in LEGACY_KEYS.items() if legacy == key)
    host, _, path = (rest if separator else head).partition("/")
    return host if separator or path.strip("/") in ("", "v1", "v2") else key


def _decoded(entry: object, key: str, path: str) -> Credential:
    import base64
    import binascii

    refusal = Invalid(f"{path}: the entry for {key!r} cannot be read", fix="log in again")
    if not isinstance(entry, dict):
        raise refusal
    texts = [entry.get(k) or "" for k in ("username", "password", "identitytoken", "registrytoken", "auth")]
    if not all(isinstance(t, str) for t in texts):
        raise refusal
    username, password, identity_token, registry_token, auth = texts
    if auth:
        try:
            username, colon, password = base64.b64decode(auth).decode().partition(":")
        except (binascii.Error, ValueError):
            raise refusal from None  # the cause would show the text
        if not colon:
            raise refusal
    return Credential(username, password.rstrip("\0"), identity_token, registry_token)


def _entry(credential: Credential) -> dict[str, str]:
    import base64

    if credential.identity_token:
        return {"identitytoken": credential.identity_token}
    pair = f"{credential.username}:{credential.password}".encode()
    return {"auth": base64.b64encode(pair).decode()}


class _locked_folder:  # noqa: N801 - used like a function
    """Makes the folder of a file (0700) if needed and holds a lock on it, against a login at the same time."""

    def __init__(self, path: str) -> None:
        self.folder = os.path.dirname(os.path.realpath(path))

    def __enter__(self) -> None:
        import fcntl

        from sampan.linux.durable import make_dir

        try:
            if not os.path.isdir(self.folder):
                make_dir(self.folder, 0o700)
            self.fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except OSError as error:
            raise from_os_error(error, "lock the registries' credentials") from error

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
