"""Put forecast, solver and executor together, and serve them: command line, replay, demonstration.

The only package that picks concrete parts; nothing imports it.
"""
