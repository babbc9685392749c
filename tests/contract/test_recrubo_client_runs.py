"""The Recrubo client reads, finds and lists flow runs."""

from datetime import timedelta

import httpx
import pytest

from domain.errors import ProviderRejected, ProviderUnavailable, Scope
from domain.events import FlowRunStatus
from domain.model import JsonValue
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    AT,
    REFERENCE,
    RUN,
    SEARCH,
    THREAD,
    Bench,
    answer,
    in_turn,
    listing,
    run,
)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("created", FlowRunStatus.ACCEPTED),
        ("queued", FlowRunStatus.ACCEPTED),
        ("running", FlowRunStatus.RUNNING),
        ("finished", FlowRunStatus.FINISHED),
        ("timeout", FlowRunStatus.TIMED_OUT),
        ("exception", FlowRunStatus.FAILED),
        ("cancelled", FlowRunStatus.CANCELLED),
        ("completed", FlowRunStatus.UNKNOWN),
        ("", FlowRunStatus.UNKNOWN),
    ],
)
async def test_every_word_for_a_run_has_its_meaning_and_others_are_kept_raw(word: str, status: FlowRunStatus) -> None:
    state: JsonValue = {"clientReference": REFERENCE, "city": "Utrecht", "shifts": [1]}
    read = await Bench(in_turn(answer(200, {"data": run(status=word, state=state, cost=1)}))).client.read_flow_run(RUN)

    assert (read.flow_run_status, read.raw_status) == (status, word)
    assert read.answers == {"city": "Utrecht", "shifts": [1]}
    assert (read.reference, read.cost, read.created_at) == (REFERENCE, "1", AT + timedelta(seconds=1))


async def test_members_of_another_type_than_documented_are_as_good_as_absent() -> None:
    odd = run(state=[1], cost=None, createdAt=5, flowId=12345678901234567890, initialMessage="none", status=7)
    read = await Bench(in_turn(answer(200, {"data": odd}))).client.read_flow_run(RUN)

    assert (read.answers, read.cost, read.created_at, read.template_id) == ({}, "", None, "")
    assert (read.flow_id, read.flow_run_status) == ("12345678901234567890", FlowRunStatus.UNKNOWN)


async def test_a_run_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(answer(404))).client.read_flow_run(RUN)
    assert (caught.value.scope, caught.value.code) == (Scope.MESSAGE, "http-404")


async def test_an_id_is_opaque_so_whatever_it_holds_stays_one_part_of_the_path() -> None:
    bench = Bench(in_turn(answer(200, {"data": run()})))
    await bench.client.read_flow_run("../organizations?x=1")

    assert bench.requests[0].url.raw_path == b"/public/v2/flow-runs/..%2Forganizations%3Fx%3D1"


async def test_exact_matches_by_reference_stand_alone() -> None:
    mine = run("mine", state={"clientReference": REFERENCE}, flowId="renamed", createdAt="2020-01-01T00:00:00Z")
    bench = Bench(in_turn(listing(run("fits-otherwise"), mine)))

    assert [r.run_id for r in await bench.client.find_flow_runs(SEARCH)] == ["mine"]


@pytest.mark.parametrize(
    ("attributes", "fits"),
    [
        ({}, True),
        ({"createdAt": "2026-03-02T09:00:00+00:00"}, True),
        ({"createdAt": "2026-03-02T08:59:59+00:00"}, False),
        ({"createdAt": None}, True),
        ({"flowId": "another"}, False),
        ({"flowId": None}, True),
        ({"initialMessage": {"type": "template", "template": {"id": "another"}}}, False),
        ({"initialMessage": {}}, True),
        ({"messageThreadId": "another"}, False),
        ({"state": {"clientReference": "att_of_another_send"}}, False),
    ],
)
async def test_without_a_reference_a_run_fits_unless_something_that_it_tells_speaks_against_it(
    attributes: dict[str, JsonValue],
    fits: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    bench = Bench(in_turn(listing(run(RUN, **attributes))))

    assert bool(await bench.client.find_flow_runs(SEARCH)) is fits


async def test_a_run_that_another_send_owns_is_not_found_and_several_are_all_told() -> None:
    search = SEARCH.model_copy(update={"owned": frozenset({"owned"})})
    bench = Bench(in_turn(listing(run("owned"), run("one"), run("two"))))

    assert [r.run_id for r in await bench.client.find_flow_runs(search)] == ["one", "two"]


async def test_the_next_page_that_a_list_names_is_followed_by_its_query_on_our_own_host() -> None:
    link = "https://elsewhere.example/public/v2/flow-runs?filter%5BmessageThreadId%5D=t&page%5Bcursor%5D=abc"
    bench = Bench(in_turn(listing(run("a"), links={"next": link}), listing(run("b"), links={"next": None})))
    found = await bench.client.find_flow_runs(SEARCH)

    assert [r.run_id for r in found] == ["a", "b"]
    assert dict(bench.requests[1].url.params) == {"filter[messageThreadId]": "t", "page[cursor]": "abc"}
    assert {r.url.host for r in bench.requests} == {"api.recrubo.com"}


async def test_without_a_link_a_list_is_paged_until_its_total_is_reached() -> None:
    page_one = listing(run("a"), run("b"), meta={"total": 3})
    bench = Bench(in_turn(page_one, listing(run("c"), meta={"total": 3})))
    found = await bench.client.find_flow_runs(SEARCH)

    assert [r.run_id for r in found] == ["a", "b", "c"]
    assert dict(bench.requests[1].url.params) == {
        "filter[messageThreadId]": THREAD,
        "page[number]": "2",
        "page[size]": "2",
    }


async def test_a_full_page_that_tells_nothing_is_asked_for_another() -> None:
    full = [run(f"run-{n}") for n in range(10)]
    bench = Bench(in_turn(listing(*full), listing(run("last"))))

    assert len(await bench.client.find_flow_runs(SEARCH)) == 11


async def test_a_server_that_ignores_paging_ends_the_list() -> None:
    full = [run(f"run-{n}") for n in range(10)]
    bench = Bench(in_turn(listing(*full), listing(*full)))

    assert len(await bench.client.find_flow_runs(SEARCH)) == 10


@pytest.mark.parametrize(
    "pages",
    [
        (listing(run("a"), meta={"total": 3}), listing(meta={"total": 3})),
        (listing(run("a"), meta={"total": 3}), listing(run("a"), meta={"total": 3})),
        (listing(run("a"), links={"next": "/x?page=2"}), listing(run("a"), links={"next": "/x?page=3"})),
    ],
)
async def test_a_list_that_cannot_be_read_to_its_end_is_not_taken_for_a_whole_one(
    pages: tuple[httpx.Response, ...],
) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(*pages)).client.find_flow_runs(SEARCH)
    assert caught.value.code == "incomplete-list"


async def test_an_endless_list_is_given_up() -> None:
    pages = [listing(run(f"run-{n}"), links={"next": f"/x?page={n}"}) for n in range(3)]
    with pytest.raises(ProviderRejected) as caught:
        await Bench(in_turn(*pages), RecruboSettings(most_pages=3)).client.find_flow_runs(SEARCH)
    assert caught.value.code == "incomplete-list"


async def test_one_bad_element_of_a_list_does_not_drop_the_others() -> None:
    bench = Bench(in_turn(listing(None, 5, {"type": "flowRuns"}, run("good"), meta={"total": 4})))

    assert [r.run_id for r in await bench.client.find_flow_runs(SEARCH)] == ["good"]


@pytest.mark.parametrize("body", [None, {}, {"data": {}}, {"data": None}])
async def test_an_answer_without_a_list_is_asked_for_again_later(body: JsonValue) -> None:
    with pytest.raises(ProviderUnavailable):
        await Bench(in_turn(answer(200, body))).client.find_flow_runs(SEARCH)
