"""The files of tests lie in memory only where there is memory for them."""

from pathlib import Path

import pytest

from tests import memory


def test_without_such_a_folder_files_lie_where_the_system_keeps_temporary_ones(tmp_path: Path) -> None:
    assert memory.in_memory(tmp_path / "nothing") is None


def test_a_folder_with_room_is_taken_and_one_without_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_ROOM", 0)
    assert memory.in_memory(tmp_path) == tmp_path
    monkeypatch.setattr(memory, "_ROOM", 1 << 60)
    assert memory.in_memory(tmp_path) is None
