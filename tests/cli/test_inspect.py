"""`sampan inspect`, `sampan port`: Docker's documents on real containers and images."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path

import pytest

from .conftest import Harbour, Sampan, until

SERVER = Path(__file__).parents[2] / "examples" / "02-http-server" / "http-server.wasm"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


def test_inspect_a_running_container(harbour: Harbour) -> None:
    flags = ("-m", "64m", "--restart", "on-failure:3", "-l", "a=b", "-e", "K=V", "-v", "store:/s:ro", "-i")
    container_id = harbour.start("one", "sleep", "100", flags=flags)
    [found] = json.loads(harbour.ok("inspect", "one"))
    assert (found["Id"], found["Name"], found["Path"]) == (container_id, "/one", "/toolbox.wasm")
    assert found["Args"] == ["sleep", "100"]
    assert found["Image"] == harbour.ok("images", "-q", "--no-trunc").strip()
    state = found["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("running", True, 0)
    assert Path(f"/proc/{state['Pid']}").exists()
    assert re.fullmatch(TIME, state["StartedAt"]) and re.fullmatch(TIME, found["Created"])
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    host = found["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (host["NetworkMode"], host["AutoRemove"], host["ReadonlyRootfs"]) == ("none", False, False)
    [mount] = found["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"], mount["RW"]) == (
        "volume",
        "store",
        "/s",
        False,
    )
    config = found["Config"]
    assert config["Labels"] == {"a": "b"}
    assert "K=V" in config["Env"]
    assert (config["Hostname"], config["OpenStdin"], config["Tty"]) == (container_id[:12], True, False)
    assert (config["Image"], config["StopSignal"]) == ("toolbox:latest", "SIGTERM")
    assert found["Sampan"]["Limits"]["TableElements"] > 0


def test_inspect_says_how_a_container_ended(harbour: Harbour) -> None:
    harbour.start("bad", "trap")
    harbour.ok("wait", "bad")
    [found] = json.loads(harbour.ok("inspect", "bad"))
    assert (found["State"]["Status"], found["State"]["ExitCode"], found["State"]["Pid"]) == ("exited", 134, 0)
    assert found["State"]["StartedAt"] < found["State"]["FinishedAt"]
    assert found["Sampan"]["Reason"] == "trap"
    assert "unreachable" in found["Sampan"]["Message"]


def test_inspect_templates_sizes_and_types(harbour: Harbour) -> None:
    container_id = harbour.start("toolbox", "write", "/f", "text")
    harbour.ok("wait", "toolbox")
    assert (
        harbour.ok("inspect", "-f", "{{.State.Status}} {{.Name}}", container_id[:12]) == "exited /toolbox\n"
    )
    [sized] = json.loads(harbour.ok("inspect", "-s", "toolbox"))
    assert 0 < sized["SizeRw"] < sized["SizeRootFs"]
    [image] = json.loads(harbour.ok("inspect", "--type", "image", "toolbox"))
    assert image["RepoTags"] == ["toolbox:latest"]
    [container] = json.loads(harbour.ok("inspect", "--type=container", "toolbox"))
    assert container["Id"] == container_id
    harbour.ok("rm", "toolbox")
    [fallen_back] = json.loads(harbour.ok("inspect", "toolbox"))
    assert fallen_back == image


def test_inspect_prints_what_it_found_and_names_the_rest(harbour: Harbour) -> None:
    harbour.image()
    done = harbour("inspect", "absent", "toolbox", "No/Such")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)) == 1
    assert done.stderr.count("there is no container and no image") == 2
    assert json.loads(harbour("inspect", "--type", "container", "toolbox").stdout) == []


def test_inspect_refuses_a_type_that_is_none(sampan: Sampan) -> None:
    done = sampan("inspect", "--type", "pod", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--type 'pod' is not one of container, image" in done.stderr


def test_ports_as_bound_by_the_guest(harbour: Harbour) -> None:
    harbour.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::8080", "-p", "127.0.0.1::9999", str(SERVER))
    until(lambda: harbour.ok("port", "web"))
    match = re.fullmatch(r"8080/tcp -> 127\.0\.0\.1:(\d+)\n", harbour.ok("port", "web"))
    assert match is not None
    port = match[1]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    connection.request("GET", "/")
    assert b"Hello, World!" in connection.getresponse().read()
    connection.close()
    assert harbour.ok("port", "web", "8080") == harbour.ok("port", "web", "8080/tcp") == f"127.0.0.1:{port}\n"
    assert harbour.ok("ps", "--format", "{{.Ports}}") == f"127.0.0.1:{port}->8080/tcp, 9999/tcp\n"
    ports = json.loads(harbour.ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"))
    assert ports == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}], "9999/tcp": None}
    missing = harbour("port", "web", "9999")
    assert (missing.returncode, "no port of the host leads to port '9999/tcp'" in missing.stderr) == (1, True)
    harbour.ok("stop", "web")
    assert harbour.ok("port", "web") == ""
    assert harbour.ok("ps", "-a", "--format", "{{.Ports}}") == "\n"


def test_ps_does_not_wait_for_a_container_that_does_not_answer(harbour: Harbour) -> None:
    harbour.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::8080", str(SERVER))
    harbour.ok("kill", "-s", "STOP", "web")
    done = harbour("ps", "--format", "{{.Names}} {{.Ports}}")
    harbour.ok("kill", "-s", "CONT", "web")
    assert (done.returncode, done.stdout) == (0, "web 8080/tcp\n")
    assert "the ports of container web are not known" in done.stderr


@pytest.mark.parametrize("words", [["port"], ["port", "a", "b", "c"], ["inspect"], ["rename", "a"], ["wait"]])
def test_usage(sampan: Sampan, words: list[str]) -> None:
    done = sampan(*words)
    assert (done.returncode, done.stdout) == (125, "")
    assert f"See 'sampan {words[0]} --help'." in done.stderr
