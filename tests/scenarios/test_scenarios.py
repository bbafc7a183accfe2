"""The acceptance scenarios S1, S2, S3, S5 and S11's `sampan run` form, as people do them."""

import gzip
import http.client
import json
import subprocess

import pytest

from sampan.testing.registry import Registry

from .conftest import EXAMPLES, free_port, needs, until

SERVER = EXAMPLES / "02-http-server" / "http-server.wasm"
EXAMPLE = EXAMPLES / "06-wasi-example" / "wasi-example.wasm"


def answer(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    except OSError:
        return b""
    finally:
        connection.close()


def context(folder, containerfile):
    """A build context."""
    folder.mkdir()
    (folder / "Containerfile").write_text(containerfile)
    return str(folder)


def test_S1_a_module_with_wasmedge_sockets_answers(machine):
    port = free_port()
    machine.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:8080", str(SERVER))
    assert b"Hello, World!" in until(lambda: answer(port))
    machine.ok("rm", "-f", "web")
    assert answer(port) == b""


def test_S1_on_the_host_network_and_stopped_by_its_own_signal(machine):
    machine.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::8080", str(SERVER))
    shown = until(lambda: machine.ok("port", "web", "8080").strip())
    assert b"Hello, World!" in answer(int(shown.rpartition(":")[2]))
    machine.ok("kill", "-s", "SIGKILL", "web")
    assert until(lambda: machine.ok("wait", "web")).strip() == "137"


@pytest.fixture
def pushed(machines, server, tmp_path):
    """S2's image, pushed to the registry with TLS and a password."""
    here = machines("here")
    here.trust(server)
    folder = context(
        tmp_path / "context",
        'FROM scratch\nCOPY target/wasm32-wasi/release/http-server.wasm /\nCMD ["/http-server.wasm"]\n',
    )
    module = tmp_path / "context/target/wasm32-wasi/release/http-server.wasm"
    module.parent.mkdir(parents=True)
    module.write_bytes(SERVER.read_bytes())
    name = f"{server.host}/demo/http-server:v1"
    here.ok("build", "-t", name, folder)
    assert here("push", name).returncode != 0
    here.login(server)
    here.ok("push", name)
    return name


@needs("docker-registry")
def test_S2_build_push_and_run_elsewhere(machines, server, pushed):
    there = machines("there")
    there.trust(server)
    there.login(server)
    there.ok("pull", pushed)
    size = json.loads(there.ok("image", "inspect", pushed))[0]["Size"]
    assert size < len(gzip.compress(SERVER.read_bytes())) + 4096
    port = free_port()
    there.ok("run", "-d", "-p", f"{port}:8080", pushed)
    assert b"Hello, World!" in until(lambda: answer(port))


@needs("docker-registry", "skopeo")
def test_S2_skopeo_reads_it(server, pushed):
    certificates = f"{server.certificates}/{server.host}"
    done = subprocess.run(
        ["skopeo", "inspect", "--creds", "ann:secret", "--cert-dir", certificates, f"docker://{pushed}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Os"] == "linux"


@needs("docker-registry", "containerd", "ctr")
def test_S2_containerd_pulls_it(containerd, server, pushed, tmp_path):
    ca = f"{server.certificates}/{server.host}/ca.crt"
    hosts = tmp_path / "hosts" / server.host
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(
        f'[host."https://{server.host}"]\ncapabilities = ["pull", "resolve"]\nca = "{ca}"\n'
    )
    done = containerd("images", "pull", "--hosts-dir", str(hosts.parent), "--user", "ann:secret", pushed)
    assert done.returncode == 0, done.stderr
    assert pushed in containerd("images", "ls", "-q").stdout


@needs("docker-registry", "podman")
def test_S2_podman_pulls_it(podman, server, pushed):
    certificates = f"{server.certificates}/{server.host}"
    done = podman("pull", "--creds", "ann:secret", "--cert-dir", certificates, pushed)
    assert done.returncode == 0, done.stderr
    config = json.loads(podman("image", "inspect", pushed).stdout)[0]["Config"]
    assert config["Cmd"] == ["/http-server.wasm"]


@needs("docker-registry", "dockerd", "docker")
def test_S2_docker_pulls_it(docker, server, pushed):
    done = docker("login", "-u", "ann", "--password-stdin", server.host, stdin="secret")
    assert done.returncode == 0, done.stderr
    done = docker("pull", pushed)
    assert done.returncode == 0, done.stderr
    assert json.loads(docker("image", "inspect", pushed).stdout)[0]["Config"]["Cmd"] == ["/http-server.wasm"]


def test_S3_a_relative_command_without_slash_and_executable_bit(machine, tmp_path):
    folder = context(
        tmp_path / "context",
        'FROM scratch\nADD --chmod=644 wasi_example_main.wasm .\nCMD ["wasi_example_main.wasm"]\n',
    )
    (tmp_path / "context/wasi_example_main.wasm").write_bytes(EXAMPLE.read_bytes())
    machine.ok("build", "-t", "s3", folder)
    out = machine.ok("run", "--rm", "s3")
    assert "File content is This is in a file" in out
    out = machine.ok("run", "--rm", "s3", "/wasi_example_main.wasm", "50000000")
    assert "50000000" in out
    assert "/wasi_example_main.wasm" in out


@pytest.mark.parametrize(
    "token_answer",
    [
        b'{"token":"%s"}',
        b'{"access_token":"%s"}',
        b'{"token":"%s","access_token":"%s"}',
        b'{"token":"%s","access_token":"","expires_in":300}',
    ],
)
def test_S5_a_wasm_to_oci_artifact_is_pushed_pulled_and_run(machines, token_answer):
    here, there = machines("here"), machines("there")
    with Registry(users={"ann": "secret"}, auth="token") as registry:
        registry.token_answer = token_answer
        name = f"{registry.host}/me/hello:v1"
        here.ok("build", "--format", "wasm-to-oci", "-t", name, str(EXAMPLES / "01-hello" / "hello.wasm"))
        for machine in (here, there):
            machine.ok("login", "-u", "ann", "--password-stdin", registry.host, stdin=b"secret")
        said = here.ok("push", name)
        manifest = json.loads(registry.manifests["me/hello"]["v1"][0])
        out = there.ok("run", "--rm", name, "one")
    assert "digest: sha256:" in said
    assert "size:" in said
    assert manifest["config"]["mediaType"] == "application/vnd.wasm.config.v1+json"
    assert manifest["config"]["size"] == 2
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.wasm.content.layer.v1+wasm"
    ]
    assert "Hello, World!" in out
    assert "one" in out


def test_S11_run_curl_and_remove(machine, tmp_path):
    machine.ok("build", "-t", "wasm-demo-app", str(EXAMPLES / "02-http-server"))
    port = free_port()
    container = machine.ok("run", "-d", "-p", f"{port}:8080", "--name=wasm-demo-app", "wasm-demo-app").strip()
    assert len(container) == 64
    assert b"Hello, World!" in until(lambda: answer(port))
    assert f"{port}->8080/tcp" in machine.ok("ps")
    assert machine.ok("rm", "-f", "wasm-demo-app").strip() == "wasm-demo-app"
    assert machine.ok("ps", "-aq") == ""
    assert answer(port) == b""
