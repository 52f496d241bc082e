"""Why each move is made, and why what is still wrong stays.

Data, and one sentence with numbers for each. Every figure is a difference of totals of the
objective, so it can be recomputed by ``solver.domain.score``. Nothing is decided here.
"""
