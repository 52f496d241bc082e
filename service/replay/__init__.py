"""The closed loop on a recorded trace: what each policy spares the VMs, and at what cost.

``fleet`` makes hosts and a start for the trace's VMs, ``policies`` are the deciders compared,
``loop`` lets one of them run the simulated cluster, ``report`` counts, ``run`` does it for all of
them, resumably.
"""
