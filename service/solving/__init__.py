"""Solving as a service: requests to work, work to worker processes, long work as jobs.

No HTTP here. ``schema`` and ``request`` read what is asked, ``demand`` makes futures of it,
``work`` is what a worker does, ``pool`` keeps the workers, ``jobs`` remembers what takes longer
than a request.
"""
