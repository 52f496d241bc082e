"""What goes on by itself: looking at clusters, forecasting, planning, carrying out, and who may.

Nothing here knows HTTP. Requests write what is wanted into the store; the process that leads takes
it up, so that it does not matter which replica was asked.
"""
