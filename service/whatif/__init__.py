"""What-if: a cluster as it would be, what it would take to get there, and what would be left.

``question`` is what is asked, ``change`` makes the cluster and its demand as they would be,
``measure`` judges a placement, ``answer`` puts the whole together, ``futures`` finds the busiest
hours of the past. No HTTP and no store here.
"""
