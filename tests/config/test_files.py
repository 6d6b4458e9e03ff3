from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from tests.config.volumes import Volume
from wsguard.config.files import UnreadableError, all_policy_files, policy_files, read_bytes, stamp


def test_a_folder_stands_for_its_yaml_files_by_name(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "chat.test.yaml", "notes.txt", "c.yaml~"):
        (tmp_path / name).touch()
    (tmp_path / "sub.yaml").mkdir()
    assert [path.name for path in policy_files(tmp_path)] == ["a.yml", "b.yaml"]
    assert policy_files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"], "a file that is named is taken as it is"


def test_of_a_config_map_each_file_is_read_once(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "policies", {"a.yaml": "a", "b.yaml": "b"})
    assert policy_files(volume.path) == [volume.path / "a.yaml", volume.path / "b.yaml"]


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("gone")
    (file,) = policy_files(tmp_path)
    with pytest.raises(UnreadableError, match="there is no such file or folder"):
        read_bytes(file, 10)


def test_what_cannot_even_be_looked_at_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("x" * 300)  # as a link into a folder of somebody else's, also for root
    (file,) = policy_files(tmp_path)
    with pytest.raises(UnreadableError, match="File name too long"):
        read_bytes(file, 10)
    long = tmp_path / ("x" * 300)
    assert policy_files(long) == [long]


def test_an_empty_folder_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"the folder holds no \*\.yaml file"):
        policy_files(tmp_path)
    assert all_policy_files([tmp_path, tmp_path / "gone"]) == [tmp_path, tmp_path / "gone"]


def test_reads_just_enough_to_see_that_it_is_too_much(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_bytes(file, 5) == b"12345"
    assert read_bytes(file, 3) == b"1234"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UnreadableError, match="this is no regular file"):
        read_bytes(tmp_path / "pipe.yaml", 10)
    with pytest.raises(UnreadableError, match="this is no regular file"):
        read_bytes(tmp_path, 10)
    with pytest.raises(UnreadableError, match="null"):
        read_bytes("a\0b", 10)


def test_a_stamp_tells_of_every_kind_of_change(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "volume", {"a": "same"})
    plain = tmp_path / "b"
    plain.write_text("one")
    names = [str(volume.path / "a"), str(plain), str(tmp_path / "c")]
    stamps = [stamp(names)]
    assert stamp(names) == stamps[0]
    volume.swap({"a": "same"})
    stamps.append(stamp(names))
    plain.write_text("three")
    stamps.append(stamp(names))
    (tmp_path / "c").touch()
    stamps.append(stamp(names))
    plain.unlink()
    stamps.append(stamp(names))
    assert all(one != two for one, two in pairwise(stamps))
