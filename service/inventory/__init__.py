"""The inventory: what was seen of a cluster, and what is wanted of it laid over that.

Plain functions on a transaction of the store. Each change is written together with its audit entry.
Nothing here knows of HTTP; who may call what is ``service.security``'s, except for what depends on
the object: which VMs an owner owns, and the bounds of their priority.
"""
