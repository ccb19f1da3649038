"""A run is refused where locks may not keep two of them apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genpool.errors import StorageFailed, UnsupportedPlatform
from genpool.layout import PoolLayout
from genpool.mounts import check_file_system, refuse_network, type_of_mount

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /home rw,relatime shared:9 - nfs4 server:/export/home rw,vers=4.2
31 30 8:1 / /home/local rw,relatime shared:10 master:2 - xfs /dev/sda1 rw
32 22 0:30 / /mnt/two\\040words rw - fuse.sshfs me@host:/ rw
33 22 0:31 / /twice rw - ext4 /dev/a rw
34 33 0:32 / /twice rw - cifs //server/share rw
torn line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/pool", "ext4"),
        ("/home/me/pool", "nfs4"),
        ("/home", "nfs4"),
        ("/homely/pool", "ext4"),
        ("/home/local/pool", "xfs"),
        ("/mnt/two words/pool", "fuse.sshfs"),
        ("/twice/pool", "cifs"),
    ],
)
def test_a_path_is_on_the_mount_that_is_nearest_above_and_mounted_last(path: str, kind: str) -> None:
    assert type_of_mount(Path(path), TABLE) == kind


def test_where_there_is_no_table_nothing_is_known() -> None:
    assert type_of_mount(Path("/home/me"), "") is None


@pytest.mark.parametrize("path", ["/home/me/pool", "/mnt/two words/pool", "/twice/pool"])
def test_a_network_file_system_is_refused_and_the_way_round_it_named(path: str) -> None:
    with pytest.raises(UnsupportedPlatform, match="network file system") as error:
        refuse_network(Path(path), TABLE)
    assert "--any-file-system" in str(error.value.hint)


def test_a_local_one_is_not(tmp_path: Path) -> None:
    refuse_network(Path("/home/local/pool"), TABLE)
    layout = PoolLayout(tmp_path)
    check_file_system(layout)
    assert list(layout.locks.iterdir()) == []


def test_a_pool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    layout = PoolLayout(tmp_path)
    layout.private.write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot write to the pool"):
        check_file_system(layout)


def test_this_machine_tells_what_the_test_is_on(tmp_path: Path) -> None:
    table = Path("/proc/self/mountinfo")
    if not table.exists():
        pytest.skip("no mount table on this system")
    assert type_of_mount(tmp_path, table.read_text())
    assert type_of_mount(Path("/proc/self"), table.read_text()) == "proc"
    assert os.path.realpath("/proc/self").startswith("/proc")
