"""`sampan cri` from its options to its end: who serves, what is behind, and how it stops."""

from __future__ import annotations

import faulthandler
import logging
import os
from typing import TYPE_CHECKING

from sampan.core.errors import Invalid
from sampan.daemon import logs, notify
from sampan.daemon.alone import Alone
from sampan.daemon.signals import Ending
from sampan.daemon.sockets import Place, path_of
from sampan.doors.cri.assembly import Assembly, Settings
from sampan.doors.cri.routing.router import Router
from sampan.doors.cri.routing.server import Server
from sampan.doors.cri.routing.upstream import Upstream
from sampan.engine import plugins
from sampan.linux import durable

if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.core.roots import Roots

log = logging.getLogger(__name__)

HANDLERS = dict.fromkeys(("wasm", "wasmrun", "wasmedge", "wasmtime"), plugins.OWN)


def main(roots: Roots, arguments: Arguments) -> int:
    """Serves until a signal ends it; the exit code.

    Raises:
        SampanError: an option is wrong, the socket is taken, ...
    """
    logs.start(arguments.value("log-level"), arguments.value("log-format"))
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells each request to a registry
    faulthandler.enable()
    settings = settings_of(arguments)
    path = path_of(settings.listen)
    ending = Ending()
    durable.make_dir(roots.data)
    with Place(path), Alone(f"{roots.data}/cri.lock", f"the pods in {roots.data!r}"):
        _serve(path, Assembly(roots, settings), settings, ending)
    logging.shutdown()
    os._exit(0)  # a call that still goes on is one that its caller gave up, and its thread would hold us up


def _serve(path: str, parts: Assembly, settings: Settings, ending: Ending) -> None:
    upstream = Upstream(settings.upstream) if settings.upstream else None
    server = Server(path, Router(settings.handlers, parts, parts.calls, upstream))
    server.start()
    log.info("serving at %s; behind it %s", settings.listen, settings.upstream or "nothing")
    notify.tell(notify.READY)
    ending.wait()
    notify.tell(notify.STOPPING)
    log.info("ending; the containers go on")
    parts.end_events()
    server.stop()
    parts.close()


def settings_of(arguments: Arguments) -> Settings:
    """What the options say.

    Raises:
        Invalid: one of them makes no sense.
    """
    listen, upstream = arguments.value("listen"), arguments.value("upstream")
    if upstream and path_of(upstream) == path_of(listen):
        raise Invalid(f"the runtime behind {listen} would be itself", fix="give another --upstream")
    handlers = handlers_of(arguments.values("handler"))
    if not upstream:
        handlers.setdefault("", plugins.OWN)  # pods that ask for no handler: nobody else has them
    return Settings(
        listen=listen,
        upstream=upstream,
        handlers=handlers,
        streaming_address=arguments.value("streaming-address"),
        cni_conf_dir=arguments.value("cni-conf-dir"),
        cni_bin_dirs=arguments.value("cni-bin-dir").split(":"),
        hosts=arguments.value("hosts-dir"),
    )


def handlers_of(words: list[str]) -> dict[str, str]:
    """Handler -> engine of `NAME=ENGINE` words; ours without any.

    Raises:
        Invalid: a word is none, or there is no such engine.
    """
    handlers: dict[str, str] = {}
    engines = [plugins.OWN, *plugins.names()]
    for word in words:
        name, equals, engine = word.partition("=")
        if not name or not equals:
            raise Invalid(f"--handler {word[:80]!r} is not NAME=ENGINE")
        if engine not in engines:
            raise Invalid(
                f"--handler {word[:80]!r}: there is no engine {engine[:40]!r}, only {', '.join(engines)}"
            )
        if handlers.setdefault(name, engine) != engine:
            raise Invalid(f"--handler {name[:80]!r} is given two engines")
    return handlers or dict(HANDLERS)
