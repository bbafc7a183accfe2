"""The flags of `run` and `create`: which there are, and what their values say.

Docker's flags mean what they mean to Docker. Those that a Wasm container cannot have are here too, each with the
reason that refuses it. The values' parsers are in `runvalues`.
"""

from __future__ import annotations

from sampan.core.commandline import Option, collected, setting, switch

_NO_KERNEL = "a Wasm workload makes no system calls of its own, so there is nothing that it would allow"
_ONE_PROCESS = "a Wasm container is one process that sees no other, so there is no namespace to choose"
_NO_DEVICE = "WASI has no devices"
_NO_BRIDGE = "Sampan has no bridge networks: the modes are none, host and published ports (-p)"
_NO_CGROUP = (
    "the container's cgroup has memory, cpu and pids limits only (-m, --cpus, --cpu-shares, --pids-limit)"
)
_NO_HEALTH = "Sampan runs no health checks"
_NO_NAMES = "names are resolved by the host's own resolver"
_NO_DOMAIN = "the variable HOSTNAME is all that a guest sees of its name"
_RUNTIME = "Sampan is the runtime here; --engine chooses what executes"
_STORAGE = "storage is the file system's own"
_LOG = "logs go to a file of the container, read by 'sampan logs'"

OPTIONS: list[Option] = [
    collected("annotation", "KEY=VALUE", "Add an annotation to the container's OCI spec"),
    collected("cap-drop", "CAP", "Take a capability away, or all; Wasm has none but those that its process needs"),
    setting("cidfile", "FILE", "Write the container's id to a file that is not there yet", complete="file"),
    setting("cpu-shares", "N", "Weight of the container's CPU time against others', 1024 for one share", "c"),
    setting("cpus", "N", "How many CPUs it may use, like 0.5"),
    collected("dir", "HOST[::GUEST[:ro]]", "Give the guest a folder, as wasmtime's --dir", own=True, complete="file"),
    setting("engine", "NAME", "What executes the workload", default="wasmtime", complete="wasmtime", own=True),
    setting("entrypoint", "PATH", "Run this file of the image instead of its entrypoint"),
    collected("env", "KEY[=VALUE]", "Set an environment variable; without a value, this one's own", "e"),
    collected("env-file", "FILE", "Read environment variables from a file", complete="file"),
    setting("fuel", "N", "End it after about this many instructions", own=True),
    setting("hostname", "NAME", "What the variable HOSTNAME says; a Linux image's host name", "h"),
    switch("interactive", "Keep standard input open", "i"),
    collected("label", "KEY[=VALUE]", "Add a label to the container", "l"),
    collected("label-file", "FILE", "Read labels from a file", complete="file"),
    setting("log-driver", "NAME", "Where logs go", default="json-file", complete="json-file"),
    setting("max-stack", "SIZE", "Bytes of Wasm stack, like 512k", own=True),
    setting("memory", "SIZE", "Memory limit, like 64m", "m"),
    collected("mount", "SPEC", "Mount: type=bind|volume|tmpfs,source=,target=[,readonly]"),
    setting("name", "NAME", "Name the container"),
    setting("network", "MODE", "none, or host: everything that this process may reach", complete="none|host"),
    Option("net", "The same as --network", value="MODE", complete="none|host", same_as="network"),
    setting("pids-limit", "N", "How many threads its process may have"),
    setting("platform", "PLATFORM", "Choose this platform of an image", complete="wasi/wasm|wasip1/wasm|wasip2/wasm"),
    collected("publish", "[[IP:]HOST:]PORT", "Publish a port, like 8080:80 or 127.0.0.1::80", "p"),
    switch("publish-all", "Publish every port that the image exposes to a free one of the host", "P"),
    setting("pull", "WHEN", "Pull the image: missing, always or never", default="missing",
            complete="missing|always|never"),
    switch("read-only", "Make the root filesystem read-only"),
    setting("restart", "POLICY", "no, always, unless-stopped or on-failure[:N]", default="no",
            complete="no|always|unless-stopped|on-failure"),
    switch("rm", "Remove the container when it ends"),
    collected("security-opt", "OPTION", "no-new-privileges, which is always on for WebAssembly"),
    setting("stop-signal", "SIGNAL", "The signal that stops it"),
    setting("stop-timeout", "SECONDS", "How long stop waits before it kills"),
    switch("strict", "Every wall around the container must stand, or it does not start", own=True),
    setting("table-elements", "N", "Most elements of a Wasm table", own=True),
    setting("timeout", "DURATION", "End it after this time, like 1.5s", own=True),
    collected("tmpfs", "PATH[:OPTIONS]", "Mount an empty folder that is kept in memory"),
    switch("tty", "Take standard input for a terminal", "t"),
    collected("ulimit", "NAME=SOFT[:HARD]", "Set a limit of its process, like nofile=1024"),
    setting("user", "USER[:GROUP]", "Run its process as this user", "u"),
    collected("volume", "[SOURCE:]PATH[:OPTIONS]", "Mount a folder, a file or a named volume", "v", complete="file"),
    collected("waive", "WALL", "Start even where this wall cannot be had", own=True,
              complete="namespace|cgroup|landlock|seccomp"),
    setting("workdir", "PATH", "The working directory inside the container", "w"),
]  # fmt: skip

NO_EFFECT: list[Option] = [
    switch("init", "Accepted", no_effect="a Wasm container has no child processes that an init would reap"),
    switch("disable-content-trust", "Accepted", no_effect="content is always checked against its digest"),
    switch("no-healthcheck", "Accepted", no_effect=_NO_HEALTH),
]  # fmt: skip

_REFUSALS = [
    (_NO_KERNEL, "", "privileged"),
    (_NO_KERNEL, "VALUE", "cap-add sysctl group-add"),
    (_ONE_PROCESS, "MODE", "pid ipc uts userns cgroupns volumes-from"),
    (_NO_DEVICE, "DEVICE", "device gpus device-cgroup-rule device-read-bps device-read-iops"),
    (_NO_DEVICE, "DEVICE", "device-write-bps device-write-iops blkio-weight-device"),
    (_NO_BRIDGE, "VALUE", "link network-alias net-alias ip ip6 link-local-ip mac-address expose"),
    (_NO_NAMES, "VALUE", "dns dns-search dns-option dns-opt add-host"),
    (_NO_CGROUP, "", "oom-kill-disable"),
    (
        _NO_CGROUP,
        "VALUE",
        "blkio-weight cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpuset-cpus cpuset-mems",
    ),
    (_NO_CGROUP, "VALUE", "memory-reservation memory-swap memory-swappiness kernel-memory shm-size"),
    (_NO_CGROUP, "VALUE", "cgroup-parent oom-score-adj"),
    (_LOG, "OPTION", "log-opt"),
    (_NO_HEALTH, "VALUE", "health-cmd health-interval health-retries health-start-period"),
    (_NO_HEALTH, "VALUE", "health-start-interval health-timeout"),
    (_RUNTIME, "NAME", "runtime isolation"),
    (_STORAGE, "OPTION", "storage-opt volume-driver"),
    (_NO_DOMAIN, "NAME", "domainname"),
]
REFUSED = [
    Option(n, value=value, refusal=reason) for reason, value, names in _REFUSALS for n in names.split()
]

CREATE_OPTIONS: list[Option] = [
    *OPTIONS,
    collected("attach", "STREAM", "Attach to stdin, stdout or stderr", "a", complete="stdin|stdout|stderr"),
    switch("quiet", "Do not show how far the pull is", "q"),
    *NO_EFFECT,
    *REFUSED,
]
RUN_OPTIONS: list[Option] = [
    switch("detach", "Run in the background and print the container's id", "d"),
    setting("detach-keys", "KEYS", "The keys that detach from a container", default="ctrl-p,ctrl-q"),
    Option("sig-proxy", "Pass signals on to the workload", default="true"),
    *CREATE_OPTIONS,
]
