"""The commands of ``foreswap``, one module each: options in, rooms called, tables out.

Nothing is decided here. Rooms are imported inside the commands, so that ``--help`` answers at once
and a command that needs no solver or no model never loads one.
"""
