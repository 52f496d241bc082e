"""Hard and soft rules, one encoder a module.

An encoder adds constraints over the decision variables, and prices to the objective; each is
tested alone.
"""
