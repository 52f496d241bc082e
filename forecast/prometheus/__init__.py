"""Prometheus as a source of history: what exporters in front of the hosts have recorded.

``client`` speaks HTTP; ``settings`` says which series mean what, ``presets`` for which exporter;
``queries`` asks for a stretch of time; ``coverage`` and ``pieces`` make one VM of what several
hosts told of it, ``assembly`` and ``columns`` one story of each; ``vms`` and ``hosts`` are what
callers use.
"""
