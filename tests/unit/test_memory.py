"""The files of tests lie in memory only where there is memory for them."""

from pathlib import Path

from tests import memory


def test_without_such_a_folder_files_lie_where_the_system_keeps_temporary_ones(tmp_path: Path) -> None:
    assert memory.in_memory(tmp_path / "nothing") is None


def test_a_folder_with_room_is_taken_and_one_without_is_not(tmp_path: Path) -> None:
    assert memory.in_memory(tmp_path, room=0) == tmp_path
    assert memory.in_memory(tmp_path, room=1 << 60) is None
