"""Certificates with which the lab's hosts know one another, signed by an authority of its own.

Every host has one, as a server and as a client of libvirt and of QEMU, each of which looks for
files of other names.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

VALID_DAYS = 2
FILE_NAMES = {
    "authority.pem": ("cacert.pem", "ca-cert.pem"),
    "certificate.pem": (
        *("servercert.pem", "server-cert.pem"),
        *("clientcert.pem", "client-cert.pem"),
    ),
    "key.pem": ("serverkey.pem", "server-key.pem", "clientkey.pem", "client-key.pem"),
}


def make_authority(folder: Path) -> None:
    """Make the authority's key and certificate in a new folder."""
    folder.mkdir()
    template = f"cn = lab\nca\ncert_signing_key\nexpiration_days = {VALID_DAYS}\n"
    (folder / "template").write_text(template, encoding="utf-8")
    # Libvirt accepts no keys that can only sign, as those of elliptic curves.
    key = folder / "key.pem"
    _certtool("--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", key)
    _certtool(
        "--generate-self-signed",
        *("--load-privkey", key),
        *("--template", folder / "template"),
        *("--outfile", folder / "authority.pem"),
    )


def make_certificate(folder: Path, authority: Path, *, name: str, address: str) -> None:
    """Put a host's certificate and key into a new folder, under every name they are looked for."""
    folder.mkdir()
    template = (
        f"organization = lab\ncn = {name}\ndns_name = {name}\nip_address = {address}\n"
        "tls_www_server\ntls_www_client\nencryption_key\nsigning_key\n"
        f"expiration_days = {VALID_DAYS}\n"
    )
    (folder / "template").write_text(template, encoding="utf-8")
    # The lab's own, since making one takes long.
    shutil.copy(authority / "key.pem", folder)
    _certtool(
        "--generate-certificate",
        *("--load-privkey", folder / "key.pem"),
        *("--load-ca-certificate", authority / "authority.pem"),
        *("--load-ca-privkey", authority / "key.pem"),
        *("--template", folder / "template"),
        *("--outfile", folder / "certificate.pem"),
    )
    shutil.copy(authority / "authority.pem", folder)
    for made, names in FILE_NAMES.items():
        for looked_for in names:
            (folder / looked_for).symlink_to(made)


def _certtool(*arguments: str | Path) -> None:
    subprocess.run(["certtool", *arguments], check=True, capture_output=True)
