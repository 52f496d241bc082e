"""The file that names real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.kvm.config import Mode
from service.hosts_file import read_hosts
from solver.domain.errors import InvalidInputError
from solver.domain.rules import AntiAffinity
from solver.domain.units import VmId
from tests.builders import make_cluster, make_host, make_vm

HEAD = 'foreswap = "hosts"\nversion = 1\n'
HOST = '[[hosts]]\nid = "h1"\nuri = "qemu+ssh://h1/system"\npeer_uri = "qemu+tls://h1/system"\n'


def write(folder: Path, text: str) -> Path:
    """Return a file with that text."""
    path = folder / "hosts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_hosts_and_migration_are_read(tmp_path: Path) -> None:
    """What is not said has the configuration's defaults."""
    text = (
        HEAD
        + "timeout_s = 4.5\n[migration]\nmode = 'client_managed'\nshared_paths = ['/srv']\n"
        + HOST
        + "zone = 'a'\nreserve = { memory_mib = 512 }\novercommit = { cpu = 4.0 }\n"
    )
    config = read_hosts(write(tmp_path, text))
    (host,) = config.hosts
    assert host.reserve is not None
    assert (host.id, host.zone, host.reserve.memory_mib, host.overcommit.cpu) == (
        "h1",
        "a",
        512,
        4.0,
    )
    assert config.migration.mode is Mode.CLIENT_MANAGED
    assert config.migration.shared_paths == ("/srv",)
    assert config.timeout_s == 4.5


def test_a_cluster_document_says_what_hosts_do_not_know(tmp_path: Path) -> None:
    """Priorities, groups, rules and network come from it; the identity of a domain does not."""
    rule = AntiAffinity(id="apart", vm_ids=(VmId("a"), VmId("b")))
    vms = [
        make_vm("a", "h1", priority=8, group="shop", labels={"uuid": "x", "tier": "1"}),
        make_vm("b", "h1"),
    ]
    policy = make_cluster([make_host("h1")], vms, rules=(rule,))
    config = read_hosts(write(tmp_path, HEAD + HOST), policy)
    assert config.vms[VmId("a")].priority == 8
    assert config.vms[VmId("a")].labels == {"tier": "1"}
    assert config.rules == (rule,)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (HOST, "foreswap", 'expected "hosts"'),
        (HEAD, "hosts", "got nothing"),
        (HEAD + HOST + "colour = 'red'\n", "hosts[0].colour", "no such field"),
        (HEAD + HOST + "zone = 5\n", "hosts[0].zone", "text"),
        (HEAD + HOST + HOST, "hosts", "'h1' stands 2 times"),
        (HEAD + "[migration]\nmode = 'by mail'\n" + HOST, "migration.mode", "peer_to_peer"),
        (HEAD + HOST.replace('peer_uri = "qemu+tls://h1/system"\n', ""), "hosts[0].peer_uri", "''"),
        ("foreswap = [", "", "expected TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, path: str, words: str
) -> None:
    """And the file it stands in."""
    with pytest.raises(InvalidInputError) as caught:
        read_hosts(write(tmp_path, text))
    assert caught.value.path == path
    assert words in str(caught.value)
    assert "hosts.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With what the system says."""
    with pytest.raises(InvalidInputError, match="No such file"):
        read_hosts(tmp_path / "absent.toml")
