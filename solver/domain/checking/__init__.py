"""The rooms of the judge; ``solver.domain.check`` is their door.

``violation`` is what they find; ``hosts`` judges what hosts hold, ``counts`` and ``rules`` the
rules, ``standing`` keeps where every VM is and judges what an event touched; ``placement``,
``moves`` and ``replay`` are the three questions that are asked.
"""
