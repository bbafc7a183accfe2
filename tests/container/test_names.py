"""Names of containers, read once."""

import os

from sampan.container.names import Names
from sampan.core.errors import NotFound


def test_a_document_is_read_again_only_when_it_was_written_anew(tmp_path):
    read = []

    def name_in(container_id):
        read.append(container_id)
        return (tmp_path / container_id).read_text()

    names = Names(lambda container_id: f"{tmp_path}/{container_id}", name_in)
    for container_id in ("1", "2", "3"):
        (tmp_path / container_id).write_text(f"name-{container_id}")
    assert names.find("name-2", ["1", "2", "3"]) == "2"
    assert names.find("name-3", ["1", "2", "3"]) == "3"
    assert read == ["1", "2", "3"]
    (tmp_path / "new").write_text("other")
    os.rename(tmp_path / "new", tmp_path / "2")
    assert names.find("other", ["1", "2", "3"]) == "2"
    assert names.find("name-2", ["1", "2", "3"]) == ""
    assert read == ["1", "2", "3", "2"]


def test_what_is_broken_or_gone_has_no_name(tmp_path):
    def name_in(container_id):
        raise NotFound(container_id)

    (tmp_path / "1").touch()
    names = Names(lambda container_id: f"{tmp_path}/{container_id}", name_in)
    assert names.find("", ["1", "gone"]) == ""
