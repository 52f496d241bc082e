"""Capacity planning: how many hosts, how much room, what a loss does; home of PuLP and HiGHS."""
