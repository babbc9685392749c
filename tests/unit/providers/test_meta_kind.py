"""Meta in a configuration: lines with number ids, a verify token by reference, and every mistake told at once."""

from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError

from domain.errors import HandshakeRefused, ProviderRejected, SetupError
from domain.model import JsonValue
from domain.plans import FlowRef, Opening, TemplateRef
from domain.sends import SendNames
from domain.topology import Account, Line, Tenant, Topology
from providers.meta.kind import build_client, build_provisioning, build_reader
from providers.meta.settings import MetaSettings
from providers.registry import build_accounts, build_readers, provider_kind
from tests.contract.meta_bench import SEND

SECRETS = {"env:TOKEN": "access-token", "env:APP": "app-secret", "env:VERIFY": "verify-token", "env:EMPTY": ""}
OPTIONS: dict[str, JsonValue] = {"waba_id": "102290000000001", "verify_token": "env:VERIFY"}


def resolve(ref: str) -> SecretStr:
    if ref not in SECRETS:
        raise SetupError(f"{ref}: is not set")
    return SecretStr(SECRETS[ref])


def account(**options: JsonValue) -> Account:
    return Account(
        slug="acme",
        provider="meta",
        credential="env:TOKEN",
        webhook_secrets=("env:APP",),
        options=OPTIONS | options,
    )


def topology(one: Account, *senders: str) -> Topology:
    lines = tuple(
        Line(slug=f"line-{n}", account="acme", tenants=("acme",), sender=sender) for n, sender in enumerate(senders)
    )
    return Topology(tenants=(Tenant(slug="acme"),), accounts=(one,), lines=lines)


async def test_an_account_of_meta_gets_a_client_and_a_reader() -> None:
    there = topology(account(), "106540000000001", "106540000000002")
    accounts, readers = build_accounts(there, resolve), build_readers(there, resolve)

    assert accounts.provider("acme").capabilities == provider_kind("meta").capabilities
    query = {"hub.mode": "subscribe", "hub.challenge": "42", "hub.verify_token": "verify-token"}
    assert readers["acme"].handshake(query) == "42"
    await accounts.close()


@pytest.mark.parametrize("sender", ["", "+15550100000", "1555 0100000", "a/b", "１２３"])
def test_a_line_without_a_number_id_is_a_setup_error_that_names_it(sender: str) -> None:
    with pytest.raises(SetupError, match="line line-1: sender must be the phone number id") as caught:
        build_accounts(topology(account(), "106540000000001", sender), resolve)
    assert "15550100000" not in str(caught.value)


@pytest.mark.parametrize("ref", ["env:NOWHERE", "env:EMPTY"])
def test_a_receiver_without_a_usable_verify_token_does_not_start(ref: str) -> None:
    with pytest.raises(SetupError, match="account acme"):
        build_readers(topology(account(verify_token=ref), "1"), resolve)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("waba_id", ""),
        ("waba_id", "a/b"),
        ("verify_token", "the-token-itself"),
        ("api_version", "23"),
        ("flow_sources", ["flow_url"]),
        ("flow_sources", []),
        ("unsent_codes", ["abc"]),
        ("page_size", 0),
        ("no_such_option", 1),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not_told(option: str, value: JsonValue) -> None:
    with pytest.raises(SetupError, match=f"account acme: options: {option}") as caught:
        build_accounts(topology(account(**{option: value}), "1"), resolve)
    assert "the-token-itself" not in str(caught.value)


def test_what_every_account_needs_is_required() -> None:
    with pytest.raises(ValidationError) as caught:
        MetaSettings.model_validate({})
    assert {str(mistake["loc"][0]) for mistake in caught.value.errors()} == {"waba_id", "verify_token"}


def test_the_business_account_may_be_written_as_a_number() -> None:
    assert MetaSettings.model_validate(OPTIONS | {"waba_id": 102290000000001}).waba_id == "102290000000001"


def test_how_long_a_lost_answer_may_take_to_settle_is_the_accounts_setting() -> None:
    assert provider_kind("meta").reconcile_wait(account()) == timedelta(minutes=15)
    assert provider_kind("meta").reconcile_wait(account(reconcile_wait="1h")) == timedelta(hours=1)
    other = Account(slug="acme", provider="recrubo", credential="env:T", webhook_secrets=("env:APP",))
    assert provider_kind("recrubo").reconcile_wait(other) is None


async def test_without_lines_a_client_refuses_every_send_and_without_token_a_reader_every_handshake() -> None:
    client = build_client(account(), SecretStr("access-token"))
    with pytest.raises(ProviderRejected, match="has no phone number id"):
        await client.trigger_flow(SEND, SendNames(reference="att_1", flow_token="ft_1"))
    with pytest.raises(HandshakeRefused):
        build_reader(account(), (SecretStr("app-secret"),)).handshake({"hub.mode": "subscribe"})
    await build_provisioning(account(), SecretStr("access-token")).close()
    await client.close()


def test_a_screen_is_prefilled_only_from_what_its_template_takes() -> None:
    template = TemplateRef(name="intake_v1", language="en_US", variables=("first_name",))
    Opening(template=template, flow=FlowRef(id="1", prefill=("first_name",)))
    with pytest.raises(ValidationError, match="city: not among the variables of template intake_v1"):
        Opening(template=template, flow=FlowRef(id="1", prefill=("city",)))
    with pytest.raises(ValidationError, match=r"first_name: in flow\.data as well"):
        Opening(template=template, flow=FlowRef(id="1", prefill=("first_name",), data={"first_name": "x"}))
