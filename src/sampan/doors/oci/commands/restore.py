"""`sampan-oci restore`: refused for Wasm containers; the runtime for Linux containers has it for its own."""

from __future__ import annotations

from sampan.core.commandline import Command, setting, switch
from sampan.doors.oci.checkpoints import refuse_or_hand_over
from sampan.doors.oci.listing import COMMANDS

OPTIONS = [
    setting("console-socket", "PATH", "Socket that gets the descriptor of the terminal's master"),
    setting("image-path", "DIR", "Folder of the image files"),
    setting("work-path", "DIR", "Folder for work files and logs"),
    switch("tcp-established", "Allow open TCP connections"),
    switch("ext-unix-sk", "Allow external Unix sockets"),
    switch("shell-job", "Allow shell jobs"),
    switch("file-locks", "Handle file locks"),
    setting("manage-cgroups-mode", "MODE", "soft, full, strict or ignore"),
    setting("bundle", "DIR", "The bundle (default: the present folder)", "b"),
    switch("detach", "Leave the container running and return", "d"),
    setting("pid-file", "FILE", "File to write the process id to"),
    switch("no-subreaper", "Do not reap processes that lost their parent"),
    switch("no-pivot", "Do not pivot the root"),
    setting("empty-ns", "TYPE", "Do not restore the properties of this namespace"),
    switch("auto-dedup", "Restore each memory page once"),
    switch("lazy-pages", "Restore memory pages when they are needed"),
    setting("lsm-profile", "TYPE:NAME", "The label of the restored process"),
    setting("lsm-mount-context", "CONTEXT", "The label of the restored mounts"),
    setting("preserve-fds", "N", "Descriptors from 3 up that the process keeps open"),
]
COMMAND = Command(
    "restore",
    "ID",
    COMMANDS["restore"],
    refuse_or_hand_over,
    OPTIONS,
    least=1,
    most=1,
    program="sampan-oci",
)
