"""Every violation of a placement or a plan, found without any solver.

This is the judge: it knows the words of the domain and nothing of how an engine works. It counts
violations rather than answering yes or no, because real clusters start broken: what was broken may
stay as broken as it was and may never get worse (``new_or_worse``). Its rooms stand in
``solver.domain.checking``.
"""

from solver.domain.checking.elsewhere import check_elsewhere as check_elsewhere
from solver.domain.checking.moves import check_moves as check_moves
from solver.domain.checking.placement import check_placement as check_placement
from solver.domain.checking.replay import check_plan as check_plan
from solver.domain.checking.violation import SEVERITY_BROKEN as SEVERITY_BROKEN
from solver.domain.checking.violation import SEVERITY_ONE as SEVERITY_ONE
from solver.domain.checking.violation import Violation as Violation
from solver.domain.checking.violation import capacity_severity_ppm as capacity_severity_ppm
from solver.domain.checking.violation import new_or_worse as new_or_worse
