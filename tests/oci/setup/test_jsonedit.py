"""JSON files are changed by one entry, and nothing else of their text moves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.doors.oci.setup import jsonedit

KEYS = ["runtimes", "sampan"]
VALUE = {"path": "/usr/bin/sampan-oci"}
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
runtimes = st.dictionaries(st.sampled_from(["runc", "crun", "kata", ""]), st.dictionaries(st.text(), values))
documents = st.builds(
    lambda base, more: {**base, **more},
    st.dictionaries(st.text().filter(lambda key: key != "runtimes"), values, max_size=5),
    st.just({}) | st.builds(lambda r: {"runtimes": r}, runtimes),
)
layouts = st.sampled_from([None, 0, 1, 2, 4, "\t"])


@given(documents, layouts, st.sampled_from(["", "\n", "  \n"]))
def test_added_and_removed_again_the_document_says_the_same(document, indent, ending):
    text = json.dumps(document, indent=indent) + ending
    added = jsonedit.add(text, KEYS, VALUE, "x")
    expected = {**document, "runtimes": {**document.get("runtimes", {}), "sampan": VALUE}}
    assert json.loads(added) == expected
    assert [k for k in json.loads(added) if k in document] == list(document)
    left = json.loads(jsonedit.remove(added, KEYS, "x"))
    if document.get("runtimes") == {}:
        left.setdefault("runtimes", {})
    assert left == document


@given(documents.filter(bool), layouts)
def test_what_was_there_keeps_its_text(document, indent):
    document.setdefault("runtimes", {"runc": {}})
    document["runtimes"].setdefault("runc", {"path": "é"})
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    assert jsonedit.remove(jsonedit.add(text, KEYS, VALUE, "x"), KEYS, "x") == text


def test_indentation_is_that_of_the_neighbours():
    text = '{\n\t"debug": true,\n\t"runtimes": {\n\t\t"runc": {}\n\t}\n}\n'
    assert jsonedit.add(text, KEYS, VALUE, "x") == (
        '{\n\t"debug": true,\n\t"runtimes": {\n\t\t"runc": {},\n\t\t"sampan": {\n'
        '\t\t\t"path": "/usr/bin/sampan-oci"\n\t\t}\n\t}\n}\n'
    )


def test_an_empty_object_is_filled():
    text = '{\n  "runtimes": {}\n}\n'
    added = jsonedit.add(text, KEYS, VALUE, "x")
    assert (
        added == '{\n  "runtimes": {\n    "sampan": {\n      "path": "/usr/bin/sampan-oci"\n    }\n  }\n}\n'
    )


@pytest.mark.parametrize("text", ["", " \n", "{}", "{ }\n"])
def test_a_file_that_says_nothing_is_written_anew(text):
    assert json.loads(jsonedit.add(text, KEYS, VALUE, "x")) == {"runtimes": {"sampan": VALUE}}


@pytest.mark.parametrize("position", range(3))
def test_removed_from_any_place(position):
    members = ['"a": {}', '"b": {}']
    members.insert(position, '"sampan": {"path": "/x"}')
    text = '{"runtimes": {' + ", ".join(members) + "}}"
    assert jsonedit.remove(text, KEYS, "x") == '{"runtimes": {"a": {}, "b": {}}}'


def test_removing_the_last_runtime_takes_the_object_with_it():
    assert jsonedit.remove('{"debug": true, "runtimes": {"sampan": {}}}', KEYS, "x") == '{"debug": true}'


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a":1,"a":2}', '{"a":1} x', "nul", '{"runtimes": 3}', '{"runtimes": []}']
)
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(Invalid, match="the file"):
        jsonedit.add(text, KEYS, VALUE, "the file")


@given(st.text())
def test_any_text_is_an_error_or_an_edit(text):
    try:
        added = jsonedit.add(text, KEYS, VALUE, "x")
    except Invalid:
        return
    assert json.loads(added)["runtimes"]["sampan"] == VALUE
