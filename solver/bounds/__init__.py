"""What no allowed placement costs less than, found without searching for one.

``relaxed`` adds up what the cluster as a whole lacks, ``shedding`` what each host by itself has to
bear or to give away; both are cheap. Bounds near the optimum are ``solver.cpsat``'s.
"""
