"""Carries out plans on hypervisors, safely, and remembers what it did.

Import the module that defines a name; nothing is re-exported here.
"""
