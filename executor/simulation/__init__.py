"""A cluster that exists only in memory: demand, migrations, faults, and what was suffered.

Nothing here knows the executor; ``executor.drivers.simulated`` puts the driver's face on it.
"""
