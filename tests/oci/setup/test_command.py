"""What is typed and what is printed."""

import io

import pytest

from sampan.core.commandline import UsageError
from sampan.core.errors import Invalid, NotFound
from sampan.doors.oci.setup.command import run_install, run_uninstall
from tests.oci.setup.conftest import RUNTIME

pytestmark = pytest.mark.usefixtures("no_tools")


def said(run, *words):
    out = io.StringIO()
    code = run(list(words), out)
    return code, out.getvalue()


def test_a_line_for_each_tool_and_what_to_do_next(image):
    root = f"--root-prefix={image.folder}"
    code, text = said(run_install, root, "--runtime-path", RUNTIME, "docker", "containerd")
    assert code == 0
    heads = [line for line in text.splitlines() if not line.startswith(" ")]
    assert heads == [
        "docker: installed (/etc/docker/daemon.json)",
        "containerd: installed (/etc/containerd/config.toml)",
    ]
    assert "kind: RuntimeClass" in text
    assert "systemctl restart containerd" in text
    code, text = said(run_uninstall, root, "docker", "containerd")
    assert (code, text.count("removed")) == (0, 2)


def test_failures_are_lines_and_an_exit_code(image):
    image.write("/etc/docker/daemon.json", b"{")
    code, text = said(
        run_install, f"--root-prefix={image.folder}", f"--runtime-path={RUNTIME}", "docker", "podman"
    )
    assert code == 1
    assert text.startswith("docker: failed: /etc/docker/daemon.json is not JSON")
    assert "podman: installed" in text


def test_dry_run_prints_a_diff(image):
    root = f"--root-prefix={image.folder}"
    code, text = said(run_install, root, "--runtime-path", RUNTIME, "--dry-run", "--name", "wasm", "docker")
    assert code == 0
    assert '+    "wasm": {\n' in text
    assert not image.at("/etc/docker").exists()


def test_without_words_the_installed_tools_are_meant(image):
    image.write("/usr/bin/podman", b"", 0o755)
    code, text = said(run_install, f"--root-prefix={image.folder}", "--runtime-path", RUNTIME)
    assert (code, text.splitlines()[0]) == (
        0,
        "podman: installed (/etc/containers/containers.conf.d/sampan.conf)",
    )


def test_no_tool_at_all_is_an_error(image):
    with pytest.raises(NotFound, match="no container tool"):
        said(run_install, f"--root-prefix={image.folder}", "--runtime-path", RUNTIME)


def test_unknown_words_are_refused(image):
    with pytest.raises(UsageError, match="--nam"):
        said(run_install, "--nam", "x")
    with pytest.raises(Invalid, match="lxc"):
        said(run_install, f"--root-prefix={image.folder}", "--runtime-path", RUNTIME, "lxc")
