"""The guest's kernel and initramfs, made once a machine and kept in the user's cache.

The kernel is Debian's for clouds, unpacked so that QEMU starts it without a boot loader; the
initramfs holds ``guest_init.c`` and the few modules it needs. Both together boot in about two
seconds of emulated CPU, and an idle guest takes 2 % of a core.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow

from tests.integration.lab.cache import cache_folder
from tests.integration.lab.requirements import LabUnavailableError

KERNEL_META_PACKAGE = "linux-image-cloud-amd64"
INIT_SOURCE = Path(__file__).with_name("guest_init.c")
KEPT_S = 14 * 24 * 3600.0

# Loaded in this order, each after the modules that it says it needs.
MODULES = ("button", "evdev", "virtio_pci", "virtio_balloon", "virtio_blk")
MODULE_SIGNATURE = b"~Module signature appended~\n"
LZ4_LEGACY_MAGIC = 0x184C2102
LZ4_LEGACY_BLOCK = 8 << 20

# Self-tests, mitigations and calibrations take most of a boot under emulation.
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=1 mitigations=off nokaslr tsc=reliable no_timer_check "
    "cryptomgr.notests noreplace-smp"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """Files that a guest boots from."""

    kernel: Path
    initrd: Path


def make_guest_image() -> GuestImage:
    """Return the image, making it first where it is missing or of an older kernel package.

    Several processes may ask at once: one makes it, the others wait.

    :raises LabUnavailableError: if the kernel cannot be had
    """
    cache = cache_folder() / "guest"
    cache.mkdir(exist_ok=True)
    with _locked(cache / "lock"):
        package = _offered_kernel_package(cache)
        if package is None:
            return _image_in(_newest_made(cache))
        folder = cache / _key(package)
        if not folder.is_dir():
            _make(package, folder)
        os.utime(folder)
        _remove_old(cache)
        return _image_in(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _offered_kernel_package(cache: Path) -> str | None:
    """Return the same as ``_newest_kernel_package``, asking apt once per list of packages only."""
    lists = Path("/var/lib/apt/lists")
    changed = str(lists.stat().st_mtime_ns) if lists.exists() else "none"
    asked = cache / "asked"
    if asked.exists():
        known, _, package = asked.read_text(encoding="utf-8").partition(" ")
        if known == changed:
            return package
    newest = _newest_kernel_package()
    if newest is not None:
        asked.write_text(f"{changed} {newest}", encoding="utf-8")
    return newest


def _newest_kernel_package() -> str | None:
    """Return ``name=version`` of the kernel that apt offers, ``None`` if it offers none."""
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", KERNEL_META_PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)", shown, re.MULTILINE)
    return f"{found[1]}={found[2]}" if found else None


def _key(package: str) -> str:
    digest = hashlib.sha256(package.encode())
    for source in (INIT_SOURCE, Path(__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _image_in(folder: Path) -> GuestImage:
    return GuestImage(kernel=folder / "vmlinux", initrd=folder / "initrd")


def _made(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir() and len(path.name) == 16]


def _newest_made(cache: Path) -> Path:
    made = sorted(_made(cache), key=lambda path: path.stat().st_mtime)
    if not made:
        raise LabUnavailableError(f"apt offers no {KERNEL_META_PACKAGE} to boot guests from")
    return made[-1]


def _remove_old(cache: Path) -> None:
    for folder in _made(cache):
        if folder.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(folder)


def _make(package: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as name:
        work = Path(name)
        unpacked = _unpack_kernel_package(package, work)
        image = work / "image"
        image.mkdir()
        boot_file = next((unpacked / "boot").glob("vmlinuz-*"))
        (image / "vmlinux").write_bytes(extract_kernel(boot_file.read_bytes()))
        _make_initrd(unpacked, work / "root", image / "initrd")
        image.rename(folder)


def _unpack_kernel_package(package: str, work: Path) -> Path:
    if not _download(package, work):
        # The list of packages may be older than the archive.
        subprocess.run(["apt-get", "update"], capture_output=True, check=False)
        package = _newest_kernel_package() or package
        if not _download(package, work):
            raise LabUnavailableError(f"apt-get could not download {package}")
    unpacked = work / "unpacked"
    subprocess.run(["dpkg", "-x", next(work.glob("*.deb")), unpacked], check=True)
    return unpacked


def _download(package: str, work: Path) -> bool:
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
    answer = subprocess.run(command, cwd=work, capture_output=True, check=False)
    return answer.returncode == 0


def extract_kernel(boot_file: bytes) -> bytes:
    """Return the kernel proper, which QEMU starts at once, out of a bzImage packed with LZ4.

    References
    ----------
    .. [1] Linux: Documentation/arch/x86/boot.rst (``payload_offset``, ``payload_length``).
    .. [2] LZ4 frame format, "legacy frame".
    """
    num_setup_sectors = boot_file[0x1F1] or 4
    offset, length = struct.unpack_from("<II", boot_file, 0x248)
    start = (num_setup_sectors + 1) * 512 + offset
    payload = memoryview(boot_file)[start : start + length]
    (magic,) = struct.unpack_from("<I", payload)
    if magic != LZ4_LEGACY_MAGIC:
        raise LabUnavailableError(f"kernel is packed in a way the lab cannot read: {magic:#x}")
    (left,) = struct.unpack_from("<I", payload, length - 4)
    codec = pyarrow.Codec("lz4_raw")
    blocks = []
    position = 4
    while left > 0:
        (packed,) = struct.unpack_from("<I", payload, position)
        position += 4
        size = min(left, LZ4_LEGACY_BLOCK)
        block = payload[position : position + packed]
        blocks.append(codec.decompress(block, decompressed_size=size, asbytes=True))
        position += packed
        left -= size
    return b"".join(blocks)


def _make_initrd(unpacked: Path, root: Path, initrd: Path) -> None:
    for name in ("dev", "proc", "modules"):
        (root / name).mkdir(parents=True)
    command = ["gcc", "-O2", "-static", "-s", str(INIT_SOURCE), "-o", str(root / "init")]
    subprocess.run(command, check=True)
    (kernel_modules,) = unpacked.glob("lib/modules/*/kernel")
    listed = []
    for module in in_loading_order(MODULES, kernel_modules):
        name = f"{module.stem}.ko"
        (root / "modules" / name).write_bytes(without_signature(module.read_bytes()))
        listed.append(f"/modules/{name}\n")
    (root / "modules" / "list").write_text("".join(listed), encoding="utf-8")
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet"],
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    initrd.write_bytes(archive.stdout)


def in_loading_order(names: Iterable[str], folder: Path) -> list[Path]:
    """Return the files of kernel modules and of all they need, each after those it needs.

    What a module needs differs from one version of the kernel to the next.

    :param folder: searched with all that is below it
    """
    files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    ordered: dict[str, Path] = {}

    def add(name: str) -> None:
        found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for needed in found[1].decode("ascii").split(",") if found and found[1] else ():
            if needed not in ordered:
                add(needed)
        ordered.setdefault(name, files[name])

    for name in names:
        add(name)
    return list(ordered.values())


def without_signature(module: bytes) -> bytes:
    """Return a kernel module without its signature, which takes long to check under emulation."""
    if not module.endswith(MODULE_SIGNATURE):
        return module
    end = len(module) - len(MODULE_SIGNATURE)
    (length,) = struct.unpack_from(">I", module, end - 4)
    return module[: end - 12 - length]
