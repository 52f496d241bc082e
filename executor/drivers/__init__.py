"""How the executor talks to hypervisors: one protocol, one module per hypervisor."""
