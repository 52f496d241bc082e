"""Settings from TOML: presets, what may be changed, and what errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast.prometheus.presets import PRESETS
from forecast.prometheus.queries import host_of, quantity, sample_counts
from forecast.prometheus.settings import Measure, Settings, preset, read_settings
from solver.domain.errors import InvalidInputError


def settings(folder: Path, text: str, url: str | None = None) -> Settings:
    """Write a file and read it."""
    path = folder / "prometheus.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path, url=url)


def test_an_empty_file_is_the_default_preset(tmp_path: Path) -> None:
    """Nothing has to be said for Debian's exporter and node_exporter."""
    assert settings(tmp_path, "") == preset()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_hold_what_is_needed(name: str, tmp_path: Path) -> None:
    """Every preset is complete, and can be named in a file."""
    chosen = settings(tmp_path, f'preset = "{name}"')
    assert chosen == preset(name)
    assert chosen.vm["cpu_time"].metric == "libvirt_domain_info_cpu_time_seconds_total"


def test_everything_can_be_said(tmp_path: Path) -> None:
    """Labels, matchers, metrics, queries, scales, access; files stand beside the settings."""
    chosen = settings(
        tmp_path,
        """
        preset = "inovex"
        absent_is_off = false
        [access]
        url = "https://prometheus.example/p"
        bearer_token_file = "token"
        timeout_s = 20
        [labels]
        vm = "instance_id"
        name = "instance_name"
        host = "node"
        [select]
        vm = 'job="libvirt", dc="a"'
        [vm]
        cpu_time = "vm_cpu_seconds_total"
        cpu_wait = { metric = "vm_delay_ns_total", per = "vcpu", scale = 1e-9 }
        net_receive = "vm_rx_bytes_total"
        net_transmit = false
        memory_granted = { query = "max by (instance_id, instance_name, node) (x[$bin])" }
        [host]
        memory_size = "node_mem"
        """,
    )
    assert chosen.access is not None
    assert chosen.access.url == "https://prometheus.example/p"
    assert chosen.access.bearer_token_file == tmp_path / "token"
    assert chosen.access.timeout_s == 20.0
    assert not chosen.absent_is_off
    assert "net_transmit" not in chosen.vm
    assert chosen.host["memory_size"] == Measure(metric="node_mem")
    by = "instance_id, instance_name, node"
    assert quantity(chosen, "cpu_time", 300) == (
        f'max by ({by}) (rate(vm_cpu_seconds_total{{job="libvirt", dc="a"}}[300s]))'
    )
    # A metric of another name still has a series for each interface.
    assert quantity(chosen, "net_receive", 300) == (
        f"sum by ({by}) (max by ({by}, target_device) "
        f'(rate(vm_rx_bytes_total{{job="libvirt", dc="a"}}[300s])))'
    )
    assert quantity(chosen, "memory_granted", 60) == f"max by ({by}) (x[60s])"
    assert quantity(chosen, "up", 300) == (
        'max by (node) (sum_over_time(libvirt_up{job="libvirt", dc="a"}[300s]))'
    )
    assert "count_over_time(vm_cpu_seconds_total{" in sample_counts(chosen, 300)


def test_an_address_given_beside_the_file_comes_first(tmp_path: Path) -> None:
    """One file serves several Prometheus."""
    text = '[access]\nurl = "http://one:9090"\ntimeout_s = 7.5'
    chosen = settings(tmp_path, text, url="http://two:9090")
    assert chosen.access is not None
    assert (chosen.access.url, chosen.access.timeout_s) == ("http://two:9090", 7.5)


def test_another_vm_label_is_a_name_of_its_own(tmp_path: Path) -> None:
    """Whoever tells VMs apart by another label gets its value as their name."""
    assert settings(tmp_path, "").name_label == "domain"
    assert settings(tmp_path, '[labels]\nvm = "domain"').name_label == ""
    assert settings(tmp_path, '[labels]\nname = ""').name_label == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = ", "expected a TOML file"),
        ('preset = "kvm"', "preset: expected one of debian, tinkoff, inovex, got 'kvm'"),
        ("presets = 1", "presets: unknown key; expected one of preset, access"),
        ("preset = 1", "preset: expected text, got 1"),
        ("vm = 1", "vm: expected a table, got 1"),
        ("absent_is_off = 1", "absent_is_off: expected true or false, got 1"),
        ("[vm]\ncpu = 'x'", "vm.cpu: unknown quantity; expected one of cpu_time, cpu_wait"),
        ("[host]\nvcpus = 'x'", "host.vcpus: unknown quantity"),
        ("[vm]\ncpu_time = false", "vm.cpu_time: expected where it comes from, got none"),
        ("[vm]\ncpu_time = { query = 'x' }", "vm.cpu_time: expected a metric, got a query"),
        ("[vm]\ndisk_read = 1", "vm.disk_read: expected the name of a metric, a table or false"),
        ("[vm]\ndisk_read = true", "vm.disk_read: expected the name of a metric"),
        ("[vm]\ndisk_read = 'rate(x[5m])'", "vm.disk_read: expected the name of a metric, got"),
        ("[vm]\ndisk_read = { metrics = 'x' }", "vm.disk_read.metrics: unknown key"),
        ("[vm]\ndisk_read = { metric = 'x', query = 'y' }", "vm.disk_read: expected metric or"),
        ("[vm]\ndisk_read = { metric = 'x', scale = 0 }", "vm.disk_read: expected a scale above"),
        ("[vm]\ndisk_read = { metric = 'x', scale = true }", "vm.disk_read.scale: expected a num"),
        ("[vm]\ndisk_read = { metric = 'x', per = '1x' }", "vm.disk_read: expected per to be a"),
        ("[labels]\nvm = 'a b'", "vm_label: expected a label, got 'a b'"),
        ("[labels]\nhost = ''", "host_label: expected a label, got ''"),
        ("[select]\nvm = '{job=\"x\"}'", "select.vm: expected label matchers without braces"),
        ("[access]\nurl = 'prometheus'", "access: url: expected the address of a Prometheus"),
        ("[access]\nurl = 'http://x'\nattempts = 99", r"access: attempts: expected 1\.\.20"),
        ("[access]\ntoken = 'x'", "access.token: unknown key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    """An error has the file, the key, what was seen and what was expected."""
    with pytest.raises(InvalidInputError, match=f"prometheus.toml: {message}"):
        settings(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(InvalidInputError, match=r"none\.toml: expected a TOML file"):
        read_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("instance", "host"),
    [
        ("host1:9177", "host1"),
        ("host1", "host1"),
        ("host1.example:9177", "host1.example"),
        ("192.0.2.1:9177", "192.0.2.1"),
        ("[2001:db8::1]:9177", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("https://host1/metrics", "https://host1/metrics"),
    ],
)
def test_hosts_without_their_port(instance: str, host: str) -> None:
    """Exporters on one host have one address and several ports."""
    assert host_of(instance) == host
