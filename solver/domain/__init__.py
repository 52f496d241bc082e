"""The shared vocabulary: clusters, rules, scenarios, plans, and their independent judges.

Nothing here knows a solver, a forecaster, a hypervisor or a file format. ``check`` and ``score``
recompute every violation and every figure from scratch, so that no engine can mark its own work.
"""
