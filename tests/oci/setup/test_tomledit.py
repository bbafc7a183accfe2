"""TOML files are changed by one entry; what they say besides stays, and where possible so does every byte."""

import tomllib

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, Precondition
from sampan.doors.oci.setup import tomledit

CRI = "io.containerd.grpc.v1.cri"
KEYS = ["plugins", CRI, "containerd", "runtimes", "sampan"]
VALUE = {
    "runtime_type": "io.containerd.runc.v2",
    "pod_annotations": ["a/*"],
    "options": {"BinaryName": "/x\x7f\\y"},
}
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.datetimes()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
others = st.dictionaries(texts.filter(lambda key: key != "plugins"), values, max_size=4)
plugins = st.fixed_dictionaries(
    {},
    optional={
        "io.containerd.gc.v1": st.dictionaries(texts, scalars, max_size=2),
        CRI: st.fixed_dictionaries(
            {}, optional={"cni": st.just({"bin_dir": "/x"}), "containerd": st.just({"a": 1})}
        ),
    },
)


def written(other, plugin):
    return tomlkit.dumps({**other, **({"plugins": plugin} if plugin else {})})


@given(others, plugins)
def test_added_and_removed_again_not_a_byte_has_moved(other, plugin):
    text = written(other, plugin)
    before = tomledit.parse(text, "x")
    added = tomledit.add(text, KEYS, VALUE, "x")
    after = tomllib.loads(added)
    assert after["plugins"][CRI]["containerd"]["runtimes"]["sampan"] == VALUE
    assert added.startswith(text)
    removed = tomledit.remove(added, KEYS, "x")
    assert tomledit.parse(removed, "x") == before
    assert removed.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "text",
    [
        f"plugins = {{ '{CRI}' = {{ containerd = {{ a = 1 }} }} }}\n",
        f"[plugins]\n'{CRI}'.containerd = {{ runtimes = {{ runc = {{}} }} }}  # kept\n",
        f"[plugins.'{CRI}'.containerd]\nruntimes.runc.runtime_type = 'x'\n# kept\n[debug]\nlevel = 'info'\n",
        f"[plugins.'{CRI}'.containerd]\n[debug]\n[plugins.'{CRI}'.containerd.runtimes.runc]\n",
    ],
)
def test_inline_and_dotted_parents_are_added_to_as_well(text):
    added = tomledit.add(text, KEYS, VALUE, "x")
    assert tomllib.loads(added)["plugins"][CRI]["containerd"]["runtimes"]["sampan"] == VALUE
    assert ("kept" in added) == ("kept" in text)
    left = tomllib.loads(tomledit.remove(added, KEYS, "x"))
    assert "sampan" not in str(left)
    assert ("runc" in str(left)) == ("runc" in text)


def test_an_entry_that_somebody_has_reworked_is_still_taken_out():
    text = tomledit.add('version = 2\n# mine\n[debug]\nlevel = "info" # loud\n', KEYS, VALUE, "x")
    text = text.replace("pod_annotations", "privileged_without_host_devices = true # hm\npod_annotations")
    removed = tomledit.remove(text, KEYS, "x")
    assert "sampan." not in removed
    assert '# mine\n[debug]\nlevel = "info" # loud\n' in removed


def test_an_array_of_tables_in_the_way_is_refused():
    with pytest.raises((Invalid, Precondition), match="file"):
        tomledit.add("[[plugins]]\na = 1\n", KEYS, VALUE, "the file")


def test_a_plain_value_stands_below_its_table():
    text = tomledit.add("", ["engine", "runtimes", "sampan"], ["/x"], "x")
    assert text.endswith('[engine.runtimes]\nsampan = ["/x"]\n')


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2\n", "[x", "\x00", "a = 'x"])
def test_broken_files_are_refused(text):
    with pytest.raises(Invalid, match="the file"):
        tomledit.add(text, KEYS, VALUE, "the file")


@given(st.text())
def test_any_text_is_an_error_or_an_edit(text):
    try:
        added = tomledit.add(text, KEYS, VALUE, "x")
    except (Invalid, Precondition):
        return
    assert tomllib.loads(added)["plugins"][CRI]["containerd"]["runtimes"]["sampan"] == VALUE
