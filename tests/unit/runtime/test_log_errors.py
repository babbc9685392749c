"""An error in the log says where it came from and of what kind it is; its words only where they are ours."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import TypeAdapter, ValidationError
from temporalio.exceptions import ApplicationError

from domain.errors import SetupError
from runtime.log_errors import WITHHELD, told
from runtime.logging import configure_logging

PERSON = "Maria de los Ángeles <maria@mail.example>"


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as it is when it was raised."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_words_of_ours_are_told_and_others_are_not() -> None:
    assert told(raised(SetupError("RAPPORT_CONFIG is not set"))).endswith("SetupError: RAPPORT_CONFIG is not set")
    assert told(raised(ValueError(PERSON))).endswith(f"ValueError: {WITHHELD}")


def test_what_it_came_from_is_told_the_same_way() -> None:
    text = told(raised(SetupError("it does not open"), raised(KeyError(PERSON))))
    assert PERSON not in text
    assert text.count("Traceback (most recent call last)") == 2
    assert f"KeyError: {WITHHELD}" in text
    assert "direct cause" in text


def test_each_of_a_group_is_told() -> None:
    text = told(raised(ExceptionGroup(PERSON, [ValueError(PERSON), SetupError("one of ours")])))
    assert PERSON not in text
    assert "one of ours" in text
    assert "1 of 2" in text


def test_what_pydantic_says_of_a_value_is_left_out() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(int).validate_python(PERSON)
    assert PERSON not in told(refused.value)


def test_failures_that_we_made_for_temporal_keep_their_words() -> None:
    ours = ApplicationError("account acme: answered 400", type="ProviderRejected")
    theirs = ApplicationError(PERSON, type="ValueError")
    assert told(raised(ours)).endswith("ProviderRejected: account acme: answered 400")
    assert told(raised(theirs)).endswith(f"ValueError {WITHHELD}")


def test_the_system_says_why_without_the_file() -> None:
    assert told(raised(FileNotFoundError(2, "No such file or directory", PERSON))).endswith("No such file or directory")


def test_two_errors_that_name_each_other_end() -> None:
    first, second = ValueError(PERSON), KeyError(PERSON)
    first.__cause__, second.__cause__ = second, first
    assert told(first).count("Error") == 2


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What is logged."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logging(stream=written)
    yield written
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def test_a_task_that_nobody_waited_for_is_told_without_its_words(out: io.StringIO) -> None:
    async def fails() -> None:
        raise ValueError(PERSON)

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    del task
    (line,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"].endswith(f"ValueError: {WITHHELD}")
    assert "maria@mail.example" not in out.getvalue()
