"""Decide which virtual machines to live-migrate, and where.

``solver.domain`` is the vocabulary every package speaks. The engines stay out of this file on
purpose: importing CP-SAT takes about a second, and the host monitor must not pay it.
"""
