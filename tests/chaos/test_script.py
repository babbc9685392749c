"""A chaos run is a function of its seed."""

from collections import Counter

from tests.chaos.script import Blow, Size, write_script

SIZE = Size(engagements=204, kills=32, seed=7)


def test_the_same_seed_is_the_same_run() -> None:
    assert write_script(SIZE) == write_script(SIZE)


def test_another_seed_is_another_run() -> None:
    other = write_script(Size(SIZE.engagements, SIZE.kills, seed=8))
    assert [p.persona for p in other.people] != [p.persona for p in write_script(SIZE).people]
    assert [s.blow for s in other.strikes] != [s.blow for s in write_script(SIZE).strikes]


def test_every_barrier_is_struck_and_nobody_is_left_out() -> None:
    script = write_script(SIZE)
    assert (len(script.people), len(script.strikes)) == (SIZE.engagements, SIZE.kills)
    assert set(Counter(strike.blow for strike in script.strikes)) == set(Blow)
    assert {person.side for person in script.people} == {"recrubo", "meta", "truora"}


def test_only_twins_share_a_phone_and_they_are_with_two_providers() -> None:
    phones: dict[str, set[str]] = {}
    for person in write_script(SIZE).people:
        phones.setdefault(person.phone, set()).add(person.side)
    assert Counter(map(len, phones.values())) == {1: 180, 2: 12}
