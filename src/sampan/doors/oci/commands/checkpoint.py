"""`sampan-oci checkpoint`: refused for Wasm containers; the runtime for Linux containers has it for its own."""

from __future__ import annotations

from sampan.core.commandline import Command, setting, switch
from sampan.doors.oci.checkpoints import refuse_or_hand_over
from sampan.doors.oci.listing import COMMANDS

OPTIONS = [
    setting("image-path", "DIR", "Folder for the image files"),
    setting("work-path", "DIR", "Folder for work files and logs"),
    setting("parent-path", "DIR", "Folder of an earlier pre-dump"),
    switch("leave-running", "Let the process go on afterwards"),
    switch("tcp-established", "Allow open TCP connections"),
    switch("ext-unix-sk", "Allow external Unix sockets"),
    switch("shell-job", "Allow shell jobs"),
    switch("lazy-pages", "Restore memory pages when they are needed"),
    setting("status-fd", "N", "Descriptor that is told when lazy pages are ready"),
    setting("page-server", "ADDRESS:PORT", "Where memory pages go"),
    switch("file-locks", "Handle file locks"),
    switch("pre-dump", "Save memory alone, and let the process go on"),
    setting("manage-cgroups-mode", "MODE", "soft, full, strict or ignore"),
    setting("empty-ns", "TYPE", "Do not save the properties of this namespace"),
    switch("auto-dedup", "Save each memory page once"),
]
COMMAND = Command(
    "checkpoint",
    "ID",
    COMMANDS["checkpoint"],
    refuse_or_hand_over,
    OPTIONS,
    least=1,
    most=1,
    program="sampan-oci",
)
