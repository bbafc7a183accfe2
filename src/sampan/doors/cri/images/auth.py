"""The credentials of a PullImage call, and those of the node where the call has none."""

from __future__ import annotations

import base64
import binascii

from sampan.core.errors import Invalid
from sampan.core.reference import DEFAULT_REGISTRY
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.image.registry.credentials import Credential, Credentials

DOCKER_HOSTS = ("index.docker.io", "registry-1.docker.io")


class PullCredentials(Credentials):
    """A call's credential for the registry that it is meant for; what the node's files say for all others.

    Args:
        host: the registry (or the mirror) that is given `credential`, and nobody else.
    """

    def __init__(self, host: str, credential: Credential, files: list[str]) -> None:
        super().__init__(files)
        self._host = host
        self._credential = credential

    def find(self, registry: str, repository: str = "") -> Credential:
        if self._credential and registry == self._host:
            return self._credential
        return super().find(registry, repository)


def credential_of(auth: api.AuthConfig) -> Credential:
    """What an `AuthConfig` holds: tokens, user and password, or both in base64 (`auth`).

    Raises:
        Invalid: `auth` is not base64 of USER:PASSWORD.
    """
    username, password = auth.username, auth.password
    if auth.auth and not username:
        refusal = Invalid("the credentials of the pull are not base64 of USER:PASSWORD")
        try:
            username, colon, password = base64.b64decode(auth.auth).decode().partition(":")
        except (binascii.Error, ValueError):
            raise refusal from None  # the cause would show the text
        if not colon:
            raise refusal
        password = password.rstrip("\0")
    return Credential(username, password, auth.identity_token, auth.registry_token)


def host_of(auth: api.AuthConfig, registry: str) -> str:
    """Whom the credentials are for: the `server_address` (`https://host/v1/`), else the image's registry."""
    address = auth.server_address.rpartition("://")[2].partition("/")[0]
    if not address:
        return registry
    return DEFAULT_REGISTRY if address in DOCKER_HOSTS else address
