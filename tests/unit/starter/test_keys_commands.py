"""``rapport keys``: a rotation as an operator makes it."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from starter.cli.keys import app
from store.candidate_keys import DataKeys
from store.keys import KeyRing
from store.stores import Stores

OLD, NEW, PEPPER = "01" * 32, "02" * 32, "03" * 32


def ring(master: str) -> KeyRing:
    return KeyRing(bytes.fromhex(master), bytes.fromhex(PEPPER))


async def seal_something(url: str) -> str:
    async with Stores.open(url, ring(OLD)) as stores:
        return (await stores.data_keys.key_for_contact("acme", "ct_1")).id


async def opens(url: str, key_id: str, master: str) -> bool:
    async with Stores.open(url, ring(master)) as stores:
        return (await DataKeys(stores.database, ring(master)).open(key_id)).id == key_id


def listed() -> list[dict[str, object]]:
    shown = CliRunner().invoke(app, ["list", "--json"])
    assert shown.exit_code == 0, shown.output
    found: list[dict[str, object]] = json.loads(shown.stdout)
    return found


def test_a_master_key_is_replaced_and_the_former_one_can_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key_id = asyncio.run(seal_something(url))
    monkeypatch.setenv("RAPPORT_STORE__URL", url)
    monkeypatch.setenv("RAPPORT_KEYS__MASTER", NEW)
    monkeypatch.setenv("RAPPORT_KEYS__FORMER", OLD)
    monkeypatch.setenv("RAPPORT_KEYS__PEPPER", PEPPER)
    assert listed() == [{"master": ring(OLD).current_id, "current": False, "place": "data keys: contact", "count": 1}]

    for _ in range(2):
        assert CliRunner().invoke(app, ["rewrap"]).exit_code == 0

    monkeypatch.delenv("RAPPORT_KEYS__FORMER")
    assert [(one["master"], one["current"]) for one in listed()] == [(ring(NEW).current_id, True)]
    assert asyncio.run(opens(url, key_id, NEW))
