"""From a placement to a safe, timed plan.

``order`` is the door; ``admission`` says which moves may be made at all, ``cycles`` in which order
and over which parking hosts, ``schedule`` when. Nothing here decides where a VM should be: that is
the engines' work.
"""
