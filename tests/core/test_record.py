import pytest

from sampan.core.errors import Invalid
from sampan.core.record import Record, pascal


class Inner(Record):
    number: int
    name: str = ""


class Outer(Record, json={"kind": "@kind"}):
    kind: str
    inner: Inner | None = None
    many: list[Inner] = []
    table: dict[str, str] = {}
    ratio: float = 0.0
    flag: bool = False


class Shouting(Record, case=pascal):
    working_dir: str = ""


def test_a_document_survives_reading_and_writing_with_what_nobody_knows():
    document = {
        "@kind": "a",
        "inner": {"number": 1, "later": [1]},
        "many": [{"number": 2, "name": "b"}],
        "table": {"k": "v"},
        "newField": {"x": None},
    }
    assert Outer.from_json(document).to_json() == document


def test_defaults_are_left_out_and_not_shared():
    one, two = Outer("a"), Outer("a")
    one.many.append(Inner(1))
    assert two.many == []
    assert two.to_json() == {"@kind": "a"}


def test_null_counts_as_absent():
    assert Outer.from_json({"@kind": "a", "many": None, "inner": None}) == Outer("a")


def test_other_spellings():
    assert Shouting.from_json({"WorkingDir": "/w"}).working_dir == "/w"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"@kind": 1}, r"\$\.@kind"),
        ({"@kind": "a", "inner": {"number": True}}, r"\$\.inner\.number"),
        ({"@kind": "a", "inner": {"number": "5"}}, r"\$\.inner\.number"),
        ({"@kind": "a", "inner": {"number": 1.5}}, r"\$\.inner\.number"),
        ({"@kind": "a", "many": [{"number": 1}, {}]}, r"\$\.many\[1\]\.number is missing"),
        ({"@kind": "a", "many": {}}, r"\$\.many"),
        ({"@kind": "a", "table": {"k": 1}}, r"\$\.table\.k"),
        ({"@kind": "a", "flag": 1}, r"\$\.flag"),
        ({}, r"\$\.@kind is missing"),
        ([], r"\$, got a list"),
    ],
)
def test_R12_a_wrong_type_is_named_by_its_path(document, path):
    with pytest.raises(Invalid, match=path):
        Outer.from_json(document)


def test_records_prepared_before_they_are_read_read_the_same():
    class Above(Record):
        one: int

    class Below(Above):
        other: str = ""

    Above.prepare_all()
    assert Below._types == {"one": int, "other": str}
    assert Above._types is None
    assert Below.from_json({"one": 1, "other": "a"}) == Below(1, "a")


def test_an_integer_is_a_number():
    assert Outer.from_json({"@kind": "a", "ratio": 2}).ratio == 2.0


def test_replace_keeps_the_rest_and_the_unknown():
    record = Outer.from_json({"@kind": "a", "flag": True, "extra": 1})
    assert record.replace(kind="b").to_json() == {"@kind": "b", "flag": True, "extra": 1}


@pytest.mark.parametrize("call", [lambda: Inner(), lambda: Inner(1, "a", 2), lambda: Inner(1, wrong=2)])
def test_a_wrong_construction_is_a_type_error(call):
    with pytest.raises(TypeError):
        call()
