"""A folder of template specifications: read as a whole, by our rules and by each provider's, nothing asked."""

from pathlib import Path

import pytest

from domain.errors import BadInput
from domain.plans import TemplateRef
from domain.topology import Account, Line, Tenant, Topology
from runtime.settings import Settings
from runtime.template_files import TemplateFolder, load_templates, specifications_of
from starter.templates_file import check_templates


def account(slug: str, provider: str, **options: object) -> Account:
    secrets = {"credential": "env:TOKEN", "webhook_secrets": ("env:SECRET",)}
    return Account.model_validate({"slug": slug, "provider": provider, "options": options, **secrets})


META = {"waba_id": "102290000000001", "verify_token": "env:VERIFY"}
TOPOLOGY = Topology(
    tenants=(Tenant(slug="acme"),),
    accounts=(
        account("meta-one", "meta", **META),
        account("meta-two", "meta", **META, flow_sources=["flow_name"]),
        account("recrubo-one", "recrubo"),
        account("truora-one", "truora"),
        account("broken", "meta", waba_id=7.5),
    ),
    lines=(
        Line(slug="nursing", account="meta-one", tenants=("acme",)),
        Line(slug="nights", account="meta-one", tenants=("acme",)),
        Line(slug="driving", account="truora-one", tenants=("acme",)),
    ),
)
GOOD = "name: hello\nlanguage: en\naccounts: [recrubo-one]\ncategory: UTILITY\nbody: Hello.\n"
FLOW = "buttons:\n  - {type: FLOW, text: Open, flow_id: '9', navigate_screen: START}\n"


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def mistakes(where: Path) -> list[tuple[str, int | None, str, str]]:
    with pytest.raises(BadInput) as refused:
        check_templates(where, TOPOLOGY)
    return [(Path(m.file).stem, m.line, m.field, m.message) for m in refused.value.mistakes]


def places(where: Path) -> list[tuple[str, int | None, str]]:
    return [found[:3] for found in mistakes(where)]


def test_a_template_is_found_by_account_name_and_language(tmp_path: Path) -> None:
    by_lines = GOOD.replace("accounts: [recrubo-one]", "lines: [nights, nursing]")
    where = folder(tmp_path, one=GOOD, two=GOOD.replace("en", "nl", 1), three=by_lines)
    (where / "README.md").write_text("no template")
    found = load_templates(where, TOPOLOGY)
    english, dutch = TemplateRef(name="hello", language="en"), TemplateRef(name="hello", language="nl")

    assert len(found.templates) == 3
    assert found.find("recrubo-one", english) is not found.find("recrubo-one", dutch)
    assert found.find("meta-one", english) is not None
    assert found.find("meta-one", dutch) is None
    assert found.find("meta-two", english) is None
    assert found.find("recrubo-one", TemplateRef(name="bye", language="en")) is None


def test_a_provider_stands_for_every_account_of_it(tmp_path: Path) -> None:
    text = GOOD.replace("accounts: [recrubo-one]", "provider: meta")
    healthy = TOPOLOGY.model_copy(update={"accounts": TOPOLOGY.accounts[:4]})
    (found,) = load_templates(folder(tmp_path, one=text), healthy).templates
    assert found.accounts == ("meta-one", "meta-two")


def test_every_mistake_of_every_file_is_told_at_once_with_file_line_and_field(tmp_path: Path) -> None:
    wrong = """\
name: Hello There
langauge: en
accounts: [meta-one]
category: utility
header: Hi {{1}}
body: Hi {{1}} and {{3}}
footer: |
  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
examples: {1: Ada, 9: x}
buttons:
  - {type: FLOW, text: Open, flow_id: "1", flow_name: x, navigate_screen: A}
  - {type: URL, text: Go}
  - {type: QUICK_REPLY, text: much too long for a button of theirs}
"""
    where = folder(tmp_path, a=wrong, b="", c="a: [", d=GOOD + "name: again\n", e=GOOD)

    assert places(where) == [
        ("a", 1, "language"),
        ("a", 1, "name"),
        ("a", 2, "langauge"),
        ("a", 4, "category"),
        ("a", 5, "header"),
        ("a", 6, "body"),
        ("a", 7, "footer"),
        ("a", 9, "examples"),
        ("a", 9, "examples.9"),
        ("a", 11, "buttons[0]"),
        ("a", 12, "buttons[1].type"),
        ("a", 13, "buttons[2].text"),
        ("b", None, ""),
        ("c", 1, ""),
        ("d", 6, "name"),
    ]
    told = [found[3] for found in mistakes(where)]
    assert 'unknown name; did you mean "language"?' in told
    assert "must be 'MARKETING', 'UTILITY' or 'AUTHENTICATION'" in told
    assert not any("Hello There" in text or "Ada" in text for text in told)


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"accounts: [recrubo-one]": "accounts: [truora-one]"}, (3, "accounts"), "in its dashboard only"),
        ({"accounts: [recrubo-one]": "lines: [driving]"}, (3, "lines"), "in its dashboard only"),
        ({"accounts: [recrubo-one]": "provider: truora"}, (3, "provider"), "in its dashboard only"),
        ({"accounts: [recrubo-one]": "accounts: [recrubo-one, nobody]"}, (3, "accounts[1]"), "no account nobody"),
        ({"accounts: [recrubo-one]": "lines: [nowhere]"}, (3, "lines[0]"), "no line nowhere"),
        ({"accounts: [recrubo-one]": "provider: pigeon-post"}, (3, "provider"), "there is no provider pigeon-post"),
        ({"accounts: [recrubo-one]": "accounts: [broken]"}, (3, "accounts"), "the account's options are wrong"),
        ({"accounts: [recrubo-one]\n": ""}, (1, ""), "exactly one of provider, accounts and lines"),
        ({"body: Hello.\n": "body: Hi {{who}}\nexamples: {who: Ada}\n"}, (5, "body"), "variables have numbers"),
        ({"body: Hello.\n": "body: Hello.\n" + FLOW}, (6, "buttons"), "have no buttons"),
        (
            {"accounts: [recrubo-one]": "accounts: [meta-one]", "UTILITY": "AUTHENTICATION"},
            (4, "category"),
            "an engagement cannot send",
        ),
        (
            {"accounts: [recrubo-one]": "accounts: [meta-one, meta-two]", "Hello.\n": "Hello.\n" + FLOW},
            (7, "buttons[0].flow_id"),
            "not among flow_sources",
        ),
        (
            {"accounts: [recrubo-one]": "accounts: [meta-one]", "Hello.\n": "Hello.\n" + FLOW + FLOW.splitlines()[1]},
            (8, "buttons[1]"),
            "one FLOW button",
        ),
    ],
)
def test_each_providers_own_rules_are_checked_before_anything_is_sent(
    tmp_path: Path, changes: dict[str, str], place: tuple[int, str], says: str
) -> None:
    text = GOOD
    for old, new in changes.items():
        text = text.replace(old, new)
    (found,) = mistakes(folder(tmp_path, one=text))

    assert (found[1], found[2]) == place
    assert says in found[3]


def test_a_providers_rules_hold_where_none_of_its_accounts_is_configured(tmp_path: Path) -> None:
    only_meta = TOPOLOGY.model_copy(update={"accounts": TOPOLOGY.accounts[:1]})
    text = GOOD.replace("accounts: [recrubo-one]", "provider: recrubo") + FLOW
    with pytest.raises(BadInput, match="have no buttons"):
        load_templates(folder(tmp_path, one=text), only_meta)


def test_two_files_for_one_template_of_one_account_are_a_mistake(tmp_path: Path) -> None:
    by_line = GOOD.replace("accounts: [recrubo-one]", "lines: [nights]")
    by_account = GOOD.replace("accounts: [recrubo-one]", "accounts: [recrubo-one, meta-one]")
    where = folder(tmp_path, a=GOOD, b=by_line, c=by_account)

    assert mistakes(where) == [
        ("c", 1, "name", f"account recrubo-one has this name in this language already, in {where / 'a.yaml'}"),
        ("c", 1, "name", f"account meta-one has this name in this language already, in {where / 'b.yaml'}"),
    ]


def test_a_folder_that_is_not_there_is_a_mistake_and_no_folder_at_all_is_not(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read as a folder"):
        load_templates(tmp_path / "nowhere", TOPOLOGY)
    assert specifications_of(Settings(), TOPOLOGY).templates == TemplateFolder().templates == ()


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_TEMPLATES", str(folder(tmp_path, one=GOOD)))
    assert specifications_of(Settings(), TOPOLOGY).find("recrubo-one", TemplateRef(name="hello", language="en"))
