"""A container's security context in the OCI specification's terms: who it is, what it may do, what is hidden from it.

The same for Wasm and for Linux containers but where one says otherwise: our own walls stand around every Wasm process,
so `Unconfined` and `privileged` take nothing of them away, and give nothing that a Wasm process could use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.container.finding import open_file
from sampan.container.linuxdefaults import CAPABILITIES
from sampan.container.store import RUNNING, Containers
from sampan.container.users import find_user, groups_of
from sampan.core import strictjson
from sampan.core.errors import Invalid, Precondition, SampanError, Unimplemented
from sampan.core.record import Record
from sampan.core.spec.checks import MOST_GROUPS, check_path, check_range, check_text
from sampan.core.spec.linuxchecks import check_mappings
from sampan.core.spec.runtime import Capabilities, IdMapping, Namespace, Seccomp, User
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.linux import cgroups, privileges
from sampan.linux.files import read_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.core.roots import Roots
    from sampan.doors.cri.documents import Pod

WHERE = "linux.security_context"
MOST_USER = (1 << 31) - 1
MOST_PROFILE = 1 << 20
ALL = "CAP_ALL"
KNOWN_CAPABILITIES = [f"CAP_{name}" for name in privileges.CAPABILITIES]


class Profile(Record):
    """A security profile: `kind` is default, unconfined or localhost; `name` is what is on the node then."""

    kind: str
    name: str = ""


def user_of(context: api.LinuxContainerSecurityContext, image_user: str, rootfs: str) -> User:
    """As whom the process begins; names are looked up in the image's own files.

    Its own group is among the additional ones: a process that changes its group stays a member of that which files may
    be closed to.

    Raises:
        Invalid: ids that are none, both a number and a name, a group without a user. NotFound: a name that the image
            does not have.
    """
    text = _user_text(context) or image_user
    check_text(text, f"{WHERE}.run_as_username")
    user = find_user(text, rootfs)
    for number, gid in enumerate(context.supplemental_groups):
        check_range(gid, 0, MOST_USER, f"{WHERE}.supplemental_groups[{number}]")
    if len(context.supplemental_groups) > MOST_GROUPS:
        raise Invalid(f"{WHERE}.supplemental_groups has more than {MOST_GROUPS} groups")
    match context.supplemental_groups_policy:
        case api.Merge:
            of_image = [*user.additional_gids, *groups_of(user.uid, rootfs)]
        case api.Strict:
            of_image = []
        case unknown:
            raise Invalid(f"{WHERE}.supplemental_groups_policy {unknown} is not known")
    return user.replace(
        additional_gids=list(dict.fromkeys([user.gid, *of_image, *context.supplemental_groups]))
    )


def _user_text(context: api.LinuxContainerSecurityContext) -> str:
    """`user` or `user:group` of the request; "" leaves it to the image."""
    name = context.run_as_username
    if context.HasField("run_as_user"):
        if name:
            raise Invalid(f"{WHERE} has both run_as_user and run_as_username", fix="leave one of them out")
        check_range(context.run_as_user.value, 0, MOST_USER, f"{WHERE}.run_as_user")
        name = str(context.run_as_user.value)
    elif ":" in name:
        raise Invalid(f"{WHERE}.run_as_username {name[:60]!r} is not a name", fix="use run_as_group")
    if not context.HasField("run_as_group"):
        return name
    if not name:
        raise Invalid(f"{WHERE}.run_as_group is set without a user", fix="set run_as_user too")
    check_range(context.run_as_group.value, 0, MOST_USER, f"{WHERE}.run_as_group")
    return f"{name}:{context.run_as_group.value}"


def check_privileged(context: api.LinuxContainerSecurityContext, pod: Pod) -> None:
    """Refuses a privileged container in a pod that was not announced as one that has such."""
    if context.privileged and not pod.config.linux.security_context.privileged:
        raise Invalid(
            f"{WHERE}.privileged is set, and the pod is not privileged",
            fix="run the pod as privileged, too",
        )


def capabilities_of(context: api.LinuxContainerSecurityContext) -> Capabilities:
    """What the process may do as root: Docker's usual ones, with `ALL` first, then what is added, then what is dropped.

    Raises:
        Invalid: a name that is none.
    """
    given = context.capabilities
    added = _names(given.add_capabilities, "add_capabilities")
    ambient = _names(given.add_ambient_capabilities, "add_ambient_capabilities")
    dropped = _names(given.drop_capabilities, "drop_capabilities")
    everything = privileges.own_capabilities()  # there are no others to give
    if context.privileged:
        return Capabilities(everything, everything, [], everything, [])
    base = everything if ALL in (*added, *ambient) else list(CAPABILITIES)
    if ALL in dropped:
        base = []
    own = [name for name in dict.fromkeys([*base, *added, *ambient]) if name not in (ALL, *dropped)]
    surrounding = [name for name in dict.fromkeys(ambient) if name in own]
    return Capabilities(own, own, surrounding, own, surrounding)


def _names(given: Iterable[str], field: str) -> list[str]:
    """Capabilities as OCI writes them; with or without CAP_, in any case."""
    names = [f"CAP_{name.upper().removeprefix('CAP_')}" for name in given]
    for name in names:
        if name != ALL and name not in KNOWN_CAPABILITIES:
            raise Invalid(f"{WHERE}.capabilities.{field}: {name[:40]!r} is not a capability")
    return names


def seccomp_profile(context: api.LinuxContainerSecurityContext) -> Profile:
    """The seccomp profile that is asked for, in the new field or the old one.

    Raises:
        Invalid: a kind that is not known, or no absolute path on the node.
    """
    profile, field = _asked_profile(context, "seccomp", "seccomp_profile_path")
    if profile.kind == "localhost":
        check_path(profile.name, field)
    return profile


def read_seccomp(path: str) -> Seccomp:
    """A profile on the node, in the OCI specification's form.

    Raises:
        Invalid: it cannot be read, or is not one.
    """
    what = f"the seccomp profile {path[:200]}"
    try:
        fd = open_file(path)
    except SampanError as error:
        raise Invalid(f"{what} cannot be read: {error.message}") from error
    try:
        data = read_all(fd, MOST_PROFILE)
    except OSError as error:
        raise Invalid(f"{what} cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(data) > MOST_PROFILE:
        raise Invalid(f"{what} has more than {MOST_PROFILE} bytes")
    return Seccomp.from_json(strictjson.loads(data, what=what), what)


def apparmor_of(context: api.LinuxContainerSecurityContext) -> str:
    """The AppArmor profile by name; "" for none, which is also what the runtime's default is.

    Raises:
        Invalid: a kind that is not known, or no name.
    """
    profile, field = _asked_profile(context, "apparmor", "apparmor_profile")
    if profile.kind != "localhost":
        return ""
    name = profile.name.removeprefix("localhost/")
    check_text(name, field)
    if not name:
        raise Invalid(f"{field} names no profile")
    return name


def _asked_profile(context: api.LinuxContainerSecurityContext, new: str, old: str) -> tuple[Profile, str]:
    """The profile in the field `new`, or else in the deprecated field `old`; and where that is."""
    if context.HasField(new):
        field = f"{WHERE}.{new}"
        return _profile(getattr(context, new), field), field
    field = f"{WHERE}.{old}"
    return _old_profile(getattr(context, old), field), field


def _profile(given: api.SecurityProfile, where: str) -> Profile:
    kinds = {
        api.SecurityProfile.RuntimeDefault: "default",
        api.SecurityProfile.Unconfined: "unconfined",
        api.SecurityProfile.Localhost: "localhost",
    }
    if given.profile_type not in kinds:
        raise Invalid(f"{where}.profile_type {given.profile_type} is not known")
    kind = kinds[given.profile_type]
    if given.localhost_ref and kind != "localhost":
        raise Invalid(f"{where}.localhost_ref is set, and the profile is not one of the node")
    return Profile(kind, given.localhost_ref)


def _old_profile(text: str, where: str) -> Profile:
    if text in ("", "unconfined"):
        return Profile("unconfined")
    if text in ("runtime/default", "docker/default"):
        return Profile("default")
    if text.startswith("localhost/"):
        return Profile("localhost", text.removeprefix("localhost/"))
    raise Invalid(
        f"{where} {text[:60]!r} is not known", fix="runtime/default, unconfined or localhost/NAME are"
    )


def hidden_paths(context: api.LinuxContainerSecurityContext) -> tuple[list[str], list[str]]:
    """What is masked, and what is read-only; a privileged container sees all.

    Raises:
        Invalid: a path that is not absolute.
    """
    if context.privileged:
        return [], []
    for field in ("masked_paths", "readonly_paths"):
        for number, path in enumerate(getattr(context, field)):
            check_path(path, f"{WHERE}.{field}[{number}]")
    return list(context.masked_paths), list(context.readonly_paths)


def check_namespace_options(options: api.NamespaceOption, where: str) -> None:
    """Refuses modes that are not known, and a user namespace, which a pod of ours cannot have.

    Args:
        where: the field, for the error.
    """
    modes = {"network": (api.POD, api.NODE), "ipc": (api.POD, api.CONTAINER, api.NODE)}
    modes["pid"] = (api.POD, api.CONTAINER, api.NODE, api.TARGET)
    for field, allowed in modes.items():
        if getattr(options, field) not in allowed:
            raise Invalid(f"{where}.{field} {getattr(options, field)} cannot be had")
    check_text(options.target_id, f"{where}.target_id")
    if (options.pid == api.TARGET) != bool(options.target_id):
        raise Invalid(f"{where}.target_id and pid TARGET need each other")
    if not options.HasField("userns_options"):
        return
    users = options.userns_options
    if users.mode not in (api.POD, api.NODE):
        raise Invalid(f"{where}.userns_options.mode {users.mode} cannot be had")
    if users.mode == api.NODE:
        if users.uids or users.gids:
            raise Invalid(f"{where}.userns_options has mappings, and its mode is NODE")
        return
    for field in ("uids", "gids"):
        mappings = [IdMapping(m.container_id, m.host_id, m.length) for m in getattr(users, field)]
        check_mappings(mappings, f"{where}.userns_options.{field}")
    raise Unimplemented(
        "a pod of WebAssembly cannot have a user namespace of its own",
        fix="set hostUsers: true in the pod, or leave it out",
    )


def wasm_namespaces(pod: Pod) -> list[Namespace]:
    """Those of a Wasm container: the pod's network, names and IPC; whatever pid mode is asked for, pids of its own.

    No system call of a Wasm guest reaches other processes, so sharing theirs would show it nothing.
    """
    own = [Namespace("mount"), Namespace("pid"), Namespace("cgroup")]
    shared = [Namespace("ipc", pod.spaces.get("ipc", "")), Namespace("uts", pod.spaces.get("uts", ""))]
    return [*own, *shared, *([Namespace("network", pod.netns)] if pod.netns else [])]


def linux_namespaces(
    context: api.LinuxContainerSecurityContext, pod: Pod, container_pids: str
) -> list[Namespace]:
    """Those of a Linux container: what the pod has of its own, the host's where it has none.

    Args:
        container_pids: the path of the pid namespace of the container that it targets, "" for none.
    """
    found = [Namespace("mount")]
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts"}
    found += [Namespace(kind, pod.spaces[name]) for kind, name in kinds.items() if name in pod.spaces]
    if container_pids or context.namespace_options.pid != api.NODE:
        found.append(Namespace("pid", container_pids))
    elif pod.config.linux.security_context.namespace_options.pid != api.NODE:
        raise Invalid(f"{WHERE}.namespace_options.pid is NODE, and the pod's is not")
    if cgroups.hierarchy() == "v2" and not context.privileged:
        found.append(Namespace("cgroup"))
    return found


def target_pids(context: api.LinuxContainerSecurityContext, pod: Pod, roots: Roots) -> str:
    """The path of the pid namespace that mode TARGET wants; "" in the other modes.

    Raises:
        Invalid: the target is no container of the pod. Precondition: it does not run.
    """
    options = context.namespace_options
    if options.pid != api.TARGET:
        return ""
    where = f"{WHERE}.namespace_options.target_id {options.target_id[:80]!r}"
    try:
        entry = Containers(roots).find(options.target_id)
    except SampanError as error:
        raise Invalid(f"{where} is no container of the pod") from error
    if entry.container.pod != pod.id:
        raise Invalid(f"{where} is no container of the pod")
    state = entry.state()
    if state.status != RUNNING or state.running is None:
        raise Precondition(f"{where} does not run, so there are no processes of it to see")
    return f"/proc/{state.running.target[0]}/ns/pid"
