from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.doors.cli.template import Template

DATA = {
    "ID": "abc123",
    "Name": "/web",
    "State": {"Running": True, "Pid": 42, "Error": ""},
    "Args": ["a", "b"],
    "Labels": {"x": "1", "y": "2"},
    "Nothing": None,
    "Ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "90/tcp": None},
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "abc123"),
        ("{{ .State.Running }}", "true"),
        (r"{{.ID}}\t{{.Name}}\n", "abc123\t/web\n"),
        ("{{json .Args}}", '["a","b"]'),
        ("{{json .}}", None),
        ("{{.Args}} {{.Labels}}", "[a b] map[x:1 y:2]"),
        ("{{.Nothing}}", "<no value>"),
        ("{{range .Args}}<{{.}}>{{end}}", "<a><b>"),
        ("{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}", "0=a;1=b;"),
        ("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "x1y2"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Error}}bad{{else if eq .ID \"abc123\"}}good{{else}}odd{{end}}", "good"),
        ("{{with .State}}{{.Pid}} {{$.ID}}{{end}}", "42 abc123"),
        ("{{$x := .ID}}{{$x | upper | printf \"%-8s|\"}}", "ABC123  |"),
        ("{{len .Args}}{{index .Args 1}}{{index .Labels \"y\"}}", "2b2"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{range $p, $c := .Ports}}{{if $c}}{{$p}}->{{(index $c 0).HostPort}}{{end}}{{end}}", "80/tcp->8080"),
        ("{{slice .ID 0 3}} {{truncate .ID 2}} [{{pad .ID 1 2}}]", "abc ab [ abc123  ]"),
        ("{{join .Args \", \"}} {{split \"a-b\" \"-\"}}", "a, b [a b]"),
        ("{{lower \"AB\"}}{{title \"ab\"}}{{upper `x`}}", "abAbX"),
        ("{{print 1 true}} {{println .ID}}", "1true abc123\n"),
        ("{{printf \"%05d %q %v %%\" 42 .ID .Args}}", '00042 "abc123" [a b] %'),
        ("a {{- /* remark */ -}} b", "ab"),
        ("{{/* remark */}}x", "x"),
        ("a  {{- .ID -}}  b", "aabc123b"),
        ("{{and .ID .State.Error}}|{{or .State.Error .ID}}|{{not .ID}}", "|abc123|false"),
        ("{{if and (gt .State.Pid 1) (le .State.Pid 42) (ne .ID \"\")}}yes{{end}}", "yes"),
        ('{{"}}"}}', "}}"),
    ],
)  # fmt: skip
def test_what_go_prints(source: str, text: str | None) -> None:
    rendered = Template(source).render(DATA)
    assert rendered == text if text is not None else rendered.startswith('{"Args":["a","b"],"ID":')


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{.Id}}", "there is no field .Id; there are: Args, ID,"),
        ("{{.ID.X}}", "there is no .X in 'abc123'"),
        ("{{.ID", "no }} closes"),
        ("{{if .ID}}", "{{if}} without {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{}}", "a command is missing"),
        ("{{.ID | }}", "a command is missing"),
        ("{{template \"x\"}}", "'template' is not supported; the functions are and,"),
        ("{{html .ID}}", "'html' is not supported"),
        ("{{json json}}", "call json in parentheses"),
        ("{{json x}}", "'x' is neither a field nor a value"),
        ("{{(.ID}}", "a ( is not closed"),
        ("{{.ID)}}", "unexpected )"),
        ('{{"x}}', "no }} closes"),
        ("{{$x}}", "the variable $x is not set"),
        ("{{.ID .Name}}", ".ID is not a function"),
        ("{{index .Args 9}}", "index cannot take [a b], 9"),
        ("{{upper .Args}}", "upper cannot take [a b]"),
        ("{{len}}", "len cannot take"),
        ('{{printf "%p" .ID}}', "verb %p is not supported"),
        ('{{printf "%s"}}', "printf cannot take"),
        ('{{printf "%99999999s" .ID}}', "printf cannot take"),
        ("{{range .ID}}{{end}}", "range cannot go through 'abc123'"),
        ("{{1x}}", "'1x' is not a number"),
        ("{{$a, $b := .ID}}", "only range sets two variables"),
        ("{{:= .ID}}", ":= needs a variable before it"),
        ("{{..}}", "'..' is not a field"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(source: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        Template(source).render(DATA)
    assert said in str(caught.value)


def test_nesting_has_a_bound() -> None:
    for source in ("{{if .ID}}" * 500 + "{{end}}" * 500, "{{" + "(" * 500 + ".ID" + ")" * 500 + "}}"):
        with pytest.raises(Invalid, match="nested too deeply"):
            Template(source)


def test_headings_pass_through_functions_and_blocks() -> None:
    template = Template(r"{{json .ID}}\t{{range .Args}}x{{end}}{{.State.Pid}}\t{{.Other | upper}}")
    assert template.render({"ID": "IMAGE ID", "State": "STATE"}, titles=True) == "IMAGE ID\tSTATE\tOther"


@given(st.text(alphabet='{}.()|$:="`-/* \\IDjsonrangeifelsewithend019', max_size=60))
def test_any_text_is_rendered_or_refused(source: str) -> None:
    try:
        Template(source).render(DATA)
    except Invalid:
        return


@given(st.text(max_size=40).filter(lambda text: "{{" not in text and "\\" not in text))
def test_text_without_actions_stays(source: str) -> None:
    assert Template(source).render({}) == source
