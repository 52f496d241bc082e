"""Watches one host and its VMs, and delivers what it saw to the service.

Import the module that defines a name; nothing is re-exported here. The monitor runs on every
hypervisor beside paying guests, so nothing in this room loads NumPy, pydantic or Typer.
"""
