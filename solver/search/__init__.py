"""Search over placements with exact incremental costs; knows no modelling library."""
