"""S12: crictl with the two files that people pass around, against a server with nothing behind it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.cli.conftest import Sampan
from tests.cri.test_main import Served
from tests.scenarios.conftest import until
from tests.scenarios.oci.conftest import EXAMPLE, Tool
from tests.scenarios.oci.images import archive

MANIFESTS = Path(__file__).parent / "manifests"
SANDBOX, CONTAINER = MANIFESTS / "sandbox_config.json", MANIFESTS / "container_wasi.json"
IMAGE = "hydai/wasm-wasi-example:latest"
PLUGINS = "/usr/lib/cni"

pytestmark = tools.needs("crictl")


@pytest.fixture
def crictl() -> Iterator[Tool]:
    """Of a node with the image, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="cri-", dir="/tmp") as name:
        folder = Path(name)
        sampan = Sampan(folder)
        sampan.env["SAMPAN_ZYGOTE_IDLE"] = "0.5"
        files = {"/wasi_example_main.wasm": EXAMPLE}
        image = archive(folder / "image", IMAGE, files, Cmd=["/wasi_example_main.wasm"])
        sampan.ok("load", "-i", str(image))
        (folder / "cni").mkdir()
        network = {
            "cniVersion": "1.0.0",
            "name": "s12",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {"type": "host-local", "subnet": "10.231.7.0/24", "dataDir": f"{folder}/ipam"},
                }
            ],
        }
        (folder / "cni/s12.conflist").write_text(json.dumps(network))
        words = ("--cni-conf-dir", f"{folder}/cni", "--cni-bin-dir", PLUGINS)
        with Served(sampan, *words) as served:
            settings = folder / "crictl.yaml"
            endpoint = f"unix://{served.path}"
            settings.write_text(f"runtime-endpoint: {endpoint}\nimage-endpoint: {endpoint}\ntimeout: 30\n")
            crictl = Tool([f"{tools.tool('crictl')}/crictl", "--config", str(settings)], {})
            yield crictl
            crictl("rmp", "-af")
            assert crictl.ok("pods", "-q") == ""
            assert [path for path in (folder / "ipam/s12").iterdir() if path.name[0].isdigit()] == []


def test_S12_a_pod_and_its_container_as_people_type_it(crictl: Tool) -> None:
    pod = crictl.ok("runp", str(SANDBOX)).strip()
    listed = json.loads(crictl.ok("pods", "-o", "json"))["items"][0]
    assert (listed["id"], listed["state"]) == (pod, "SANDBOX_READY")
    container = crictl.ok("create", pod, str(CONTAINER), str(SANDBOX)).strip()

    def shown() -> str:
        """The line of `ps -a`."""
        return crictl.ok("ps", "-a").splitlines()[1]

    assert container[:13] in shown() and " Created " in shown()
    crictl.ok("start", container)
    until(lambda: " Exited " in shown())
    out = crictl.ok("logs", container).splitlines()
    assert out[0].startswith("Random number: ")
    assert "HOSTNAME: crictl_host" in out
    arguments = out.index("The args are as follows.")
    assert out[arguments + 1 : arguments + 4] == [
        "/wasi_example_main.wasm",
        "50000000",
        "File content is This is in a file",
    ]
    status = json.loads(crictl.ok("inspect", container))["status"]
    assert (status["exitCode"], status["reason"], status["state"]) == (0, "Completed", "CONTAINER_EXITED")
    assert Path(status["logPath"]).is_file()
    assert [image["repoTags"] for image in json.loads(crictl.ok("images", "-o", "json"))["images"]] == [
        [f"docker.io/{IMAGE}"]
    ]
    crictl.ok("stopp", pod)
    crictl.ok("rmp", pod)
    assert crictl.ok("ps", "-aq") == ""


def test_S12_a_running_one_is_shown_so(crictl: Tool, tmp_path: Path) -> None:
    config = json.loads(CONTAINER.read_text()) | {"args": ["/wasi_example_main.wasm", "50000000"]}
    config["image"]["image"] = IMAGE
    (tmp_path / "container.json").write_text(json.dumps(config))
    pod = crictl.ok("runp", str(SANDBOX)).strip()
    container = crictl.ok("create", pod, str(tmp_path / "container.json"), str(SANDBOX)).strip()
    crictl.ok("start", container)
    assert container[:13] in crictl.ok("ps", "-a")
    again = crictl("runp", str(SANDBOX))
    assert again.returncode != 0 and pod in again.stderr
    crictl.ok("rmp", "-f", pod)
    assert crictl.ok("ps", "-aq") == ""
