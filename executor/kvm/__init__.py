"""Real hosts: QEMU/KVM behind libvirt.

``api`` is the only file that imports libvirt; everything else here speaks in plain values, so that
it can be read and tested where libvirt is not installed.
"""
