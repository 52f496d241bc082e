"""Cluster, scenarios, rules and weights become the arrays that engines read."""
