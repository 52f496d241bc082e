"""The demonstration: a simulated cluster that lives at speed and is kept well by foreswap.

``fleet`` sets the stage, ``model`` trains the forecaster, ``lives`` lets time pass here and in a
twin that nobody looks after, ``show`` runs cycle after cycle and says what is to be seen
(``frame``), ``screen`` and ``view`` show it. Outcomes are never staged: a seed decides the start
and the load, and the same rooms plan and carry out as everywhere else.
"""
