"""What a template specification says of itself: its variables, its faults, its fingerprint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.templates import Place, TemplateSpecification, faults_of

WRITTEN: dict[str, object] = {
    "name": "intake_form",
    "language": "en_US",
    "accounts": ["acme-meta"],
    "category": "UTILITY",
    "body": "Hi {{1}}, work as {{ 2 }}? Yes, {{1}}!",
    "examples": {1: "Ada", 2: "welder"},
    "buttons": [
        {"type": "QUICK_REPLY", "text": "Not now"},
        {"type": "FLOW", "text": "Open", "flow_id": "9", "navigate_screen": "START"},
    ],
}


def spec(**changes: object) -> TemplateSpecification:
    return TemplateSpecification.model_validate(WRITTEN | changes)


def without(member: str, **changes: object) -> TemplateSpecification:
    left = {name: value for name, value in WRITTEN.items() if name != member}
    return TemplateSpecification.model_validate(left | changes)


def test_a_specification_knows_its_variables_samples_and_flow() -> None:
    numbered = spec()
    named = spec(body="Hi {{first}} of {{ firm }}", examples={"firm": "Acme", "first": "Ada"}, buttons=[])

    assert faults_of(numbered) == faults_of(named) == ()
    assert (numbered.variables, numbered.samples, numbered.is_named) == (("1", "2"), ("Ada", "welder"), False)
    assert (named.variables, named.samples, named.is_named) == (("first", "firm"), ("Ada", "Acme"), True)
    assert (named.reference.named, named.reference.variables) == (True, ("first", "firm"))
    assert named.flow is None
    assert numbered.flow is not None
    assert (numbered.flow.id, numbered.flow.screen, numbered.flow.button) == ("9", "START", 1)


@pytest.mark.parametrize(
    ("wrong", "places"),
    [
        ({"name": "Intake Form"}, [("name",)]),
        ({"name": ""}, [("name",)]),
        ({"name": "x" * 513}, [("name",)]),
        ({"body": " ", "examples": {}}, [("body",)]),
        ({"body": "x" * 1025, "examples": {}}, [("body",)]),
        ({"header": "x" * 61}, [("header",)]),
        ({"footer": "x" * 61}, [("footer",)]),
        ({"header": "Hi {{1}}"}, [("header",)]),
        ({"footer": "{{name}}"}, [("footer",)]),
        ({"footer": " "}, [("footer",)]),
        ({"body": "Hi {{1}} {{3}}", "examples": {1: "a", 3: "b"}}, [("body",)]),
        ({"body": "Hi {{2}} {{1}}"}, [("body",)]),
        ({"body": "Hi {{1}} {{name}}", "examples": {1: "a", "name": "b"}}, [("body",)]),
        ({"body": "Hi {{first name}}", "examples": {"first name": "b"}}, [("body",)]),
        ({"body": "Hi {{²}}", "examples": {"²": "b"}}, [("body",)]),
        ({"body": "Hi {{}}", "examples": {"": "b"}}, [("body",)]),
        ({"body": "Hi {{1}", "examples": {}}, [("body",)]),
        ({"examples": {1: "Ada"}}, [("examples",)]),
        ({"examples": {1: "Ada", 2: " "}}, [("examples",)]),
        ({"examples": {1: "Ada", 2: "b", 3: "c"}}, [("examples", "3")]),
        ({"buttons": [{"type": "QUICK_REPLY", "text": ""}]}, [("buttons", 0, "text")]),
        ({"buttons": [{"type": "QUICK_REPLY", "text": "a", "flow_id": "9"}]}, [("buttons", 0, "flow_id")]),
        ({"lines": ["nursing"]}, [()]),
        ({"provider": "meta"}, [()]),
        ({"name": "A", "header": "{{1}}", "examples": {}}, [("name",), ("header",), ("examples",), ("examples",)]),
    ],
)
def test_every_fault_is_found_where_it_is(wrong: dict[str, object], places: list[Place]) -> None:
    assert [fault.place for fault in faults_of(spec(**wrong))] == places


def test_it_must_be_for_somebody() -> None:
    assert [fault.place for fault in faults_of(without("accounts"))] == [()]
    assert faults_of(without("accounts", lines=["nursing"])) == faults_of(without("accounts", provider="meta")) == ()


@pytest.mark.parametrize(
    "wrong", [{"category": "utility"}, {"accounts": []}, {"buttons": [{"type": "URL", "text": "a"}]}, {"text": "hi"}]
)
def test_what_no_provider_of_ours_takes_has_no_shape(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        spec(**wrong)


def test_the_fingerprint_is_that_of_the_content() -> None:
    same = [
        without("accounts", provider="meta"),
        spec(accounts=["acme-meta", "other"]),
        spec(header=""),
        spec(examples={2: "welder", 1: "Ada"}),
        TemplateSpecification.model_validate(dict(reversed(WRITTEN.items()))),
    ]
    other = [
        spec(name="intake_form_2"),
        spec(language="en"),
        spec(category="MARKETING"),
        spec(body="Hi {{1}}, work as {{2}}? Yes!"),
        spec(footer="STOP"),
        spec(examples={1: "Ada", 2: "nurse"}),
        spec(buttons=[]),
        spec(buttons=list(reversed(spec().model_dump()["buttons"]))),
    ]
    assert {one.fingerprint() for one in same} == {spec().fingerprint()}
    assert len({one.fingerprint() for one in other} | {spec().fingerprint()}) == len(other) + 1


def test_the_fingerprint_stays_what_it_is_from_release_to_release() -> None:
    """It is kept in the store: another one for the same text would submit a refused template again."""
    plain = TemplateSpecification.model_validate(
        {
            "name": "a",
            "language": "en",
            "provider": "meta",
            "category": "UTILITY",
            "body": "Hé {{1}}",
            "examples": {1: "b"},
        }
    )
    assert plain.fingerprint() == "e84afa3e15319c33e1ef8c78bb1b5723ac4bc3f332987bb0f6a54ff6b9d9eda9"


@given(st.text(max_size=80), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_no_text_breaks_the_search_for_faults(body: str, examples: dict[str, str]) -> None:
    written = spec(body=body, examples=examples, header=body, footer=body)
    assert isinstance(faults_of(written), tuple)
    assert written.fingerprint()
