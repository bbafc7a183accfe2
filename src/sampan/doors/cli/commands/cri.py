"""`sampan cri`: serve a kubelet. What serves is a door of its own, in the process that this command was started as."""

from __future__ import annotations

from sampan import launcher
from sampan.core.commandline import Command, collected, setting
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    return launcher.serve("sampan.doors.cri.main", context.roots, args)


OPTIONS = [
    setting("listen", "ADDRESS", "Socket to serve at", default="unix:///run/sampan/cri.sock", own=True),
    setting(
        "upstream",
        "ADDRESS",
        "Socket of the runtime that has all other pods; empty for none",
        default="unix:///run/containerd/containerd.sock",
        own=True,
    ),
    collected(
        "handler",
        "NAME=ENGINE",
        "A RuntimeClass handler whose pods run here, and its engine; "
        "without it wasm, wasmrun, wasmedge and wasmtime, all by wasmtime",
        own=True,
    ),
    setting(
        "streaming-address",
        "HOST:PORT",
        "Where exec, attach and port-forward are served; port 0 for any that is free",
        default="127.0.0.1:0",
        own=True,
    ),
    setting(
        "cni-conf-dir",
        "DIR",
        "Configurations of the pods' network",
        default="/etc/cni/net.d",
        complete="file",
        own=True,
    ),
    setting(
        "cni-bin-dir",
        "DIR",
        "Plugins of the pods' network; several with : between",
        default="/opt/cni/bin:/usr/lib/cni",
        complete="file",
        own=True,
    ),
    setting(
        "hosts-dir",
        "DIR",
        "Mirrors and certificates of registries, as containerd has them",
        default="/etc/containerd/certs.d",
        complete="file",
        own=True,
    ),
    setting(
        "log-level",
        "LEVEL",
        "Least important messages to log",
        default="info",
        complete="debug|info|warn|error|fatal",
        own=True,
    ),
    setting("log-format", "FORMAT", "How to log", default="text", complete="text|json", own=True),
]
COMMAND = Command(
    "cri",
    "[OPTIONS]",
    listing.SUMMARIES["cri"],
    run,
    OPTIONS,
    most=0,
    examples=[
        "sampan cri --handler wasm=wasmtime",
        "sampan cri --listen unix:///run/wasm.sock --upstream ''",
    ],
)
