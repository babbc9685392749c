"""Accounts of a configuration made ready, with every mistake told at once."""

import pytest
from pydantic import SecretStr

from domain.errors import SetupError
from domain.model import JsonValue
from domain.topology import Account, Line, Tenant, Topology
from providers.registry import PROVIDERS, build_accounts, build_readers, provider_kind

SECRETS = {
    "env:TOKEN": "org-token",
    "env:HOOK": "hook-secret-1",
    "env:OLD_HOOK": "hook-secret-2",
    "env:EMPTY": "",
}


def resolve(ref: str) -> SecretStr:
    if ref not in SECRETS:
        raise SetupError(f"{ref}: is not set")
    return SecretStr(SECRETS[ref])


def account(slug: str = "acme", **changes: JsonValue) -> Account:
    written: dict[str, JsonValue] = {
        "slug": slug,
        "provider": "recrubo",
        "credential": "env:TOKEN",
        "webhook_secrets": ["env:HOOK", "env:OLD_HOOK"],
    }
    return Account.model_validate(written | changes)


def topology(*accounts: Account) -> Topology:
    line = Line(slug="main", account=accounts[0].slug, tenants=("acme",))
    return Topology(tenants=(Tenant(slug="acme"),), accounts=accounts, lines=(line,))


async def test_every_account_gets_a_client_of_its_provider() -> None:
    accounts = build_accounts(topology(account("one"), account("two")), resolve)

    assert accounts.provider("one") is not accounts.provider("two")
    assert accounts.provider("one").capabilities == provider_kind("recrubo").capabilities
    await accounts.close()


def test_an_account_that_is_not_configured_is_a_setup_error_that_names_it() -> None:
    with pytest.raises(SetupError, match="other-account"):
        build_accounts(topology(account()), resolve).provider("other-account")


def test_a_provider_that_we_do_not_know_is_refused_with_those_that_we_do() -> None:
    with pytest.raises(SetupError, match=", ".join(sorted(PROVIDERS))):
        provider_kind("pigeon-post")


def test_everything_wrong_in_any_account_is_told_at_once_and_no_value_of_it() -> None:
    wrong = topology(
        account("one", provider="pigeon-post"),
        account("two", options={"send_reference": "perhaps-tomorrow", "no_such_option": 1}),
        account("three", credential="env:NOWHERE"),
        account("four", credential="env:EMPTY"),
    )
    with pytest.raises(SetupError) as caught:
        build_accounts(wrong, resolve)

    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "account one",
        *["account two"] * 2,
        "account three",
        "account four",
    ]
    assert "options: send_reference" in lines[1]
    assert "options: no_such_option" in lines[2]
    assert "env:NOWHERE" in lines[3]
    assert "perhaps-tomorrow" not in str(caught.value)


@pytest.mark.parametrize("ref", ["env:EMPTY", "env:NOWHERE"])
def test_a_receiver_without_a_usable_webhook_secret_does_not_start(ref: str) -> None:
    with pytest.raises(SetupError, match="account acme"):
        build_readers(topology(account(webhook_secrets=["env:HOOK", ref])), resolve)


def test_a_reader_takes_every_secret_of_its_account_so_that_a_rotation_loses_nothing() -> None:
    readers = build_readers(topology(account()), resolve)

    for secret in ("hook-secret-1", "hook-secret-2"):
        readers["acme"].verify(b"", {"x-recrubo-webhook-secret": secret})
    assert readers["acme"].handshake({"hub.mode": "subscribe"}) is None
