"""Settings of a host's libvirtd and of its QEMU."""

from __future__ import annotations

import uuid
from pathlib import Path

TLS_PORT = 16514
MIGRATION_PORTS = (49152, 49167)


def write_settings(folder: Path, pki: Path) -> None:
    """Write ``libvirtd.conf`` and ``qemu.conf``.

    :param folder: what the host sees as ``/etc/libvirt``
    :param pki: folder of the host's certificate
    """
    (folder / "qemu").mkdir(parents=True)
    # Libvirt refuses to migrate to the host it is on, which it knows by this identity.
    daemon = f"""
host_uuid = "{uuid.uuid4()}"
auth_unix_rw = "none"
unix_sock_rw_perms = "0770"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
listen_tls = 1
tls_port = "{TLS_PORT}"
listen_tcp = 1
auth_tcp = "none"
auth_tls = "none"
ca_file = "{pki}/cacert.pem"
cert_file = "{pki}/servercert.pem"
key_file = "{pki}/serverkey.pem"
"""
    # Without virtlogd, control groups and what protects the machine from its guests.
    qemu = f"""
user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
migration_port_min = {MIGRATION_PORTS[0]}
migration_port_max = {MIGRATION_PORTS[1]}
migrate_tls_x509_cert_dir = "{pki}"
migrate_tls_x509_verify = 1
"""
    (folder / "libvirtd.conf").write_text(daemon.lstrip(), encoding="utf-8")
    (folder / "qemu.conf").write_text(qemu.lstrip(), encoding="utf-8")
