"""A configuration file is read whole, and every mistake in it is told at once with its line."""

from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import ValidationError

from domain.errors import BadInput, Mistake
from domain.model import Written
from domain.plans import TemplateRef
from domain.topology import Role, Topology
from runtime.topology import load_topology
from runtime.yaml_source import MOST_BYTES, field_name, load_yaml_model, read_yaml

GOOD = """\
tenants:
  - slug: acme
    ats: {url: "https://ats.example/hooks", secret: "env:ATS_SECRET"}
accounts:
  - slug: recrubo-main
    provider: recrubo
    credential: env:RECRUBO_KEY
    webhook_secrets: [env:HOOK_NEW, env:HOOK_OLD]
    rate: 10
    options: {region: co, retries: 3}
lines:
  - slug: bogota
    account: recrubo-main
    tenants: [acme]
tokens:
  - name: console
    tenant: acme
    token: file:/run/secrets/console
    roles: [read, operate]
"""


class Note(Written):
    """Something small to read."""

    text: str
    count: int = 0


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rapport.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(path: Path) -> list[tuple[int | None, str]]:
    with pytest.raises(BadInput) as refused:
        load_topology(path)
    assert all(mistake.file == str(path) for mistake in refused.value.mistakes)
    return [(mistake.line, mistake.field) for mistake in refused.value.mistakes]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    topology = load_topology(written(tmp_path, GOOD))

    assert topology.accounts[0].webhook_secrets == ("env:HOOK_NEW", "env:HOOK_OLD")
    assert topology.accounts[0].options == {"region": "co", "retries": 3}
    assert topology.tokens[0].roles == {Role.READ, Role.OPERATE}


def test_every_mistake_is_told_with_its_line_and_field(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        dedent("""\
            tenants:
              - slug: Acme Corp
            accounts:
              - slug: main
                provider: recrubo
                credential: hunter2
                webhook_secrets: []
                rate: fast
                colour: red
            lines:
              - account: main
                tenants: [acme]
            """),
    )

    assert mistakes(path) == [
        (2, "tenants[0].slug"),
        (6, "accounts[0].credential"),
        (7, "accounts[0].webhook_secrets"),
        (8, "accounts[0].rate"),
        (9, "accounts[0].colour"),
        (11, "lines[0].slug"),
    ]
    with pytest.raises(BadInput) as refused:
        load_topology(path)
    assert "hunter2" not in str(refused.value)
    assert "fast" not in str(refused.value)


def test_names_that_lead_nowhere_are_told_where_they_stand(tmp_path: Path) -> None:
    text = GOOD.replace("account: recrubo-main", "account: other").replace("tenants: [acme]", "tenants: [acme, b, c]")
    text = (
        text.replace("    tenant: acme", "    tenant: nobody")
        + "  - {name: console, tenant: acme, token: env:T, roles: [read]}\n"
    )

    path = written(tmp_path, text)

    assert mistakes(path) == [
        (13, "lines[0].account"),
        (14, "lines[0].tenants[1]"),
        (14, "lines[0].tenants[2]"),
        (17, "tokens[0].tenant"),
        (20, "tokens[1]"),
    ]


def test_the_same_faults_are_told_without_a_file() -> None:
    with pytest.raises(ValidationError, match="line l: no account nope"):
        Topology.model_validate(
            {
                "tenants": [{"slug": "a"}],
                "accounts": [{"slug": "m", "provider": "p", "credential": "env:X", "webhook_secrets": ["env:Y"]}],
                "lines": [{"slug": "l", "account": "nope", "tenants": ["a"]}],
            }
        )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("text: [1, 2\ncount: 1\n", 2, "not valid YAML"),
        ("text: a\n\tcount: 1\n", 2, "not valid YAML"),
        ("text: a\ntext: b\n", 2, "written twice"),
        ("text: &here [*here]\n", 1, "refers to itself"),
        ("text: *nowhere\n", 1, "not valid YAML"),
        ("text: !!python/object:os.system x\n", 1, "not valid YAML"),
        ("text: a\n--- \ntext: b\n", 2, "not valid YAML"),
        ("- a\n", 1, "dictionary"),
        ("", 1, "dictionary"),
        ("text: 3\n", 1, "string"),
    ],
)
def test_what_is_no_such_document_is_refused_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        load_yaml_model(written(tmp_path, text), Note)

    (mistake,) = refused.value.mistakes
    assert (mistake.line, said in mistake.message) == (line, True), mistake


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"text: \xff\xfe\n", "is not UTF-8 text"),
        (b"text: \x00\n", "not valid YAML"),
        (b"[" * 20_000, "nested too deeply"),
        (b"#" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_text_of_ours_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        load_yaml_model(written(tmp_path, raw), Note)


def test_a_document_that_grows_beyond_measure_is_refused(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(BadInput, match="more than"):
        load_yaml_model(written(tmp_path, "\n".join(levels)), Note)


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        load_topology(tmp_path / "none.yaml")

    assert refused.value.mistakes == (
        Mistake("cannot be read: No such file or directory", file=str(tmp_path / "none.yaml")),
    )


@pytest.mark.parametrize("word", ["no", "on", "yes", "+573001234567", "12:30", "2026-01-31", "0x1f", "1_000", "~x"])
def test_plain_words_stay_what_was_written(tmp_path: Path, word: str) -> None:
    assert load_yaml_model(written(tmp_path, f"text: {word}\n"), Note).text == word


def test_numbers_and_truths_are_what_they_look_like(tmp_path: Path) -> None:
    path = written(tmp_path, "a: 1\nb: -2.5\nc: true\nd: null\ne: ~\nf:\ng: 0\nh: '1'\n")

    assert read_yaml(path).value == {
        "a": 1, "b": -2.5, "c": True, "d": None, "e": None, "f": None, "g": 0, "h": "1",
    }  # fmt: skip


def test_a_language_is_not_a_truth(tmp_path: Path) -> None:
    assert load_yaml_model(written(tmp_path, "name: hello\nlanguage: no\n"), TemplateRef).language == "no"


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert load_yaml_model(written(tmp_path, b"\xef\xbb\xbftext: hi\n"), Note).text == "hi"


def test_members_of_unions_do_not_confuse_the_line(tmp_path: Path) -> None:
    source = read_yaml(written(tmp_path, "items:\n  - kind: a\n    size: x\n"))

    assert source.line(("items", 0, "union-member", "size")) == 3
    assert source.line(("items", 0, "absent")) == 2
    assert source.line(("nothing",)) == 1


def test_fields_are_named_as_people_write_them() -> None:
    assert field_name(("lines", 0, "tenants", 2)) == "lines[0].tenants[2]"
    assert field_name(()) == ""
