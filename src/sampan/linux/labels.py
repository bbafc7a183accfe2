"""AppArmor profiles and SELinux labels of a process. apparmor(7), selinux(8); config.md, "Linux Process".

Nothing is executed after the jail, so the label changes in place: AppArmor's `changeprofile`, SELinux's dynamic
transition. Both need the policy's consent, one thread, and no_new_privs not yet set. What a host does not have is an
error, as with runc: a container that asks for a label must not run without it.
"""

from __future__ import annotations

import os
from errno import ENOENT

from sampan.core.errors import Invalid, NotFound, Unimplemented, from_os_error
from sampan.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Process

APPARMOR = "/sys/module/apparmor/parameters/enabled"
SELINUX = "/sys/fs/selinux/enforce"
UNCONFINED = "unconfined"


def check(process: Process) -> None:
    """Refuse a label that this host cannot give.

    Raises:
        Unimplemented: the host has no AppArmor, or no SELinux. Invalid: the label is malformed.
    """
    for field, label in (
        ("apparmorProfile", process.apparmor_profile),
        ("selinuxLabel", process.selinux_label),
    ):
        if not label.isprintable() or len(label) > 4000:
            raise Invalid(f"process.{field} {label[:60]!r} is malformed")
    profile = process.apparmor_profile
    if profile not in ("", UNCONFINED) and not has_apparmor():
        raise Unimplemented(
            f"process.apparmorProfile is {profile[:60]!r}, and this host has no AppArmor",
            fix="leave the profile out",
        )
    if process.selinux_label and not has_selinux():
        raise Unimplemented(
            f"process.selinuxLabel is {process.selinux_label[:60]!r}, and SELinux is off on this host",
            fix="leave the label out",
        )


def apply(process: Process) -> None:
    """Take the labels on; `check` them before.

    Raises:
        NotFound: the AppArmor profile is not loaded. Denied: the policy does not allow the change.
    """
    profile = process.apparmor_profile
    if profile and has_apparmor():
        folder = "self/attr/apparmor" if os.path.isdir("/proc/self/attr/apparmor") else "self/attr"
        _write(f"{folder}/current", f"changeprofile {profile}", f"AppArmor profile {profile[:60]!r}")
    if process.selinux_label and has_selinux():
        label = process.selinux_label
        _write("self/attr/current", label, f"SELinux label {label[:60]!r}")


def has_apparmor() -> bool:
    """Whether AppArmor is switched on in this kernel."""
    try:
        with open(APPARMOR, "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether SELinux is switched on, enforcing or not."""
    return os.path.exists(SELINUX)


def _write(path: str, text: str, what: str) -> None:
    try:
        procfs.write(path, text)
    except OSError as error:
        if error.errno == ENOENT and what.startswith("AppArmor"):
            raise NotFound(
                f"the {what} is not loaded", fix="load it with apparmor_parser, or name another"
            ) from error
        raise from_os_error(error, f"take on the {what}") from error
