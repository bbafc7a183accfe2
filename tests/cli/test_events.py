"""`sampan events`: what happened and what happens to containers and images."""

from __future__ import annotations

import json
import re
import signal

import pytest

from sampan.testing.registry import Registry

from .conftest import TOOLBOX, Harbour

NAME = "boat"
STYLE = "{{.Type}} {{.Action}}"
UNTIL_NOW = ("--since", "1h", "--until", "0s")


def actions(harbour: Harbour, *flags: str) -> list[str]:
    return harbour.ok("events", *UNTIL_NOW, "--format", STYLE, *flags).splitlines()


def test_the_life_of_a_container(harbour: Harbour) -> None:
    container_id = harbour.start(NAME, "sleep", "100", flags=("-l", "team=a", "-l", "name=other"))
    harbour("exec", NAME, "/toolbox.wasm", "exit", "3")
    harbour.ok("rename", NAME, "ship")
    harbour.ok("stop", "ship")
    harbour.ok("rm", "ship")
    lines = harbour.ok("events", *UNTIL_NOW, "-f", "type=container").splitlines()
    seen = {line.split()[2]: line for line in lines}
    assert list(seen)[:6] == ["create", "start", "exec_start", "exec_die", "rename", "kill"]
    assert sorted(list(seen)[6:]) == ["destroy", "die", "stop"], "told by different processes, in any order"
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
    said = "image=toolbox:latest, name=boat, team=a"
    assert re.fullmatch(rf"{time} container create {container_id} \({said}\)", lines[0])
    assert "exitCode=3" in seen["exec_die"]
    assert "oldName=boat" in seen["rename"] and "name=ship" in seen["rename"]
    assert "exitCode=143" in seen["die"]


def test_filters(harbour: Harbour) -> None:
    ids = [harbour.start(name, "sleep", "100", flags=("-l", f"team={name}")) for name in ("one", "two")]
    both = ["container create", "container start"]
    assert actions(harbour, "-f", "container=one") == both
    assert actions(harbour, "-f", f"container={ids[1][:12]}") == both
    assert actions(harbour, "-f", "container=on") == []
    assert actions(harbour, "-f", "label=team=two") == both
    assert actions(harbour, "-f", "label=team", "-f", "event=start") == ["container start"] * 2
    assert actions(harbour, "-f", "event=create", "-f", "event=build") == [
        "image build",
        *["container create"] * 2,
    ]
    assert actions(harbour, "-f", "image=toolbox", "-f", "type=container") == both * 2
    assert actions(harbour, "-f", "image=toolbox:latest", "-f", "type=image") == ["image build"]
    assert actions(harbour, "-f", "image=tool") == []


def test_json_has_dockers_fields(harbour: Harbour) -> None:
    container_id = harbour.ok("create", "--name", NAME, harbour.image()).strip()
    event = json.loads(harbour.ok("events", *UNTIL_NOW, "-f", "event=create", "--format", "json"))
    assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("container", "create", container_id)
    assert event["Actor"]["Attributes"] == {"name": NAME, "image": "toolbox:latest"}
    assert event["time"] == event["timeNano"] // 10**9


def test_what_happens_to_images(harbour: Harbour) -> None:
    with Registry() as registry:
        name = f"{registry.host}/team/tool:v1"
        harbour.ok("build", "-q", "-t", name, str(TOOLBOX))
        harbour.ok("tag", name, "other")
        harbour.ok("push", name)
        harbour.ok("save", "-o", "archive.tar", name)
        harbour.ok("rmi", "-f", name, "other")
        harbour.ok("load", "-i", "archive.tar")
        harbour.ok("pull", name)
    seen = [line.split()[1] for line in actions(harbour)]
    assert seen == ["build", "tag", "push", "save", "untag", "untag", "delete", "load", "pull"]
    assert actions(harbour, "-f", f"image={name}")[0] == "image build"


def test_it_goes_on_as_it_happens_until_it_is_interrupted(harbour: Harbour) -> None:
    harbour.image()
    running = harbour.spawn("events", "--since", "1h", "--format", STYLE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"image build\n"
    harbour.ok("create", "--name", NAME, "toolbox")
    assert running.stdout.readline() == b"container create\n"
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130


def test_it_begins_now_and_ends_in_time(harbour: Harbour) -> None:
    harbour.image()
    assert harbour.ok("events", "--until", "0s") == ""
    assert harbour.ok("events", "--since", "2h", "--until", "1h") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "colour=red"], "is not a filter"),
        (["--since", "yesterday"], "'yesterday' is not a time"),
        (["--format", "table {{.ID}}"], "events are no table"),
        ([*UNTIL_NOW, "--format", "{{.Colour}}"], "no field .Colour"),
    ],
)
def test_events_says_why_not(harbour: Harbour, words: list[str], said: str) -> None:
    harbour.image()
    done = harbour("events", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_damaged_line_costs_that_line_only(harbour: Harbour) -> None:
    harbour.image()
    with open(harbour.folder / "run" / "events", "ab") as file:
        file.write(b"\xff\xfe{\n{}\n[1]\n")
    harbour.ok("create", "--name", NAME, "toolbox")
    assert actions(harbour) == ["image build", "container create"]
