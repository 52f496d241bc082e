"""How the guest's image is made, wherever that needs no kernel package."""

from __future__ import annotations

from pathlib import Path

from tests.integration.lab.guest import in_loading_order


def write_module(folder: Path, name: str, depends: str) -> None:
    """Write a file that tells, as a kernel module does, what it needs."""
    text = f"ELF\0license=GPL\0depends={depends}\0retpoline=Y\0"
    (folder / f"{name}.ko").write_bytes(text.encode("ascii"))


def test_modules_are_loaded_after_those_they_need(tmp_path: Path) -> None:
    """A newer kernel's virtio needed virtio_ring, which was loaded after it: guests had no disk."""
    (tmp_path / "virtio").mkdir()
    write_module(tmp_path / "virtio", "virtio_blk", "virtio,virtio_ring")
    write_module(tmp_path / "virtio", "virtio", "virtio_ring")
    write_module(tmp_path / "virtio", "virtio_ring", "")
    write_module(tmp_path, "virtio-pci", "virtio")
    ordered = in_loading_order(["virtio_blk", "virtio_pci"], tmp_path)
    assert [path.stem for path in ordered] == ["virtio_ring", "virtio", "virtio_blk", "virtio-pci"]
