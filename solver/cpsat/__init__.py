"""The joint model in CP-SAT: the only room that knows the modelling library."""
