"""How a migration is asked of libvirt: flags and parameters from settings."""

from __future__ import annotations

from executor.kvm.config import MigrationConfig, Mode


def flag_names(
    config: MigrationConfig, *, copies_disks: bool = False, disks_vouched_for: bool = False
) -> tuple[str, ...]:
    """Return the names of the flags of a migration, for ``executor.kvm.api.FLAGS``.

    Parameters
    ----------
    copies_disks
        Whether some of the VM's disks go along.
    disks_vouched_for
        Whether libvirt is not to doubt that the destination sees the VM's disks.
    """
    wanted = {
        "live": True,
        "peer_to_peer": config.mode is Mode.PEER_TO_PEER,
        "persist_destination": config.persist,
        "undefine_source": config.persist,
        "tunnelled": config.tunnelled,
        "tls": config.tls,
        "auto_converge": config.auto_converge,
        "post_copy": config.post_copy,
        "compressed": config.compressed,
        "parallel": config.parallel_connections > 0,
        "copy_storage": copies_disks,
        "unsafe": disks_vouched_for,
    }
    return tuple(name for name, on in wanted.items() if on)


def parameters(
    config: MigrationConfig,
    *,
    address: str,
    bandwidth_mib_per_s: int,
    copied_disks: tuple[str, ...] = (),
) -> dict[str, int | str | list[str]]:
    """Return the parameters of one migration, by the names of ``executor.kvm.api.PARAMS``.

    Parameters
    ----------
    address
        Where the destination receives guests; empty to leave it to libvirt.
    copied_disks
        Targets of the disks to copy. Without their names libvirt would copy every disk, shared
        ones onto themselves.
    """
    # In post-copy there is no limit: a guest that waits for its memory should not wait for more.
    values: dict[str, int | str | list[str]] = {"bandwidth": bandwidth_mib_per_s}
    if address and not config.tunnelled:
        values["uri"] = f"tcp://[{address}]" if ":" in address else f"tcp://{address}"
    if config.parallel_connections:
        values["parallel_connections"] = config.parallel_connections
    if config.compressed:
        values["compression"] = "xbzrle"
    if copied_disks:
        values["copied_disks"] = list(copied_disks)
    return values
