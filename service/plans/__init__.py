"""Plans as operators deal with them: when they are made, how they are kept, what is wanted of them.

``schedule`` says when a cluster is balanced by itself and how far, ``document`` owns the form in
which a plan is kept and shown, ``wishes`` are the use cases: approve, reject, abort and so on, each
with its audit entry. Nothing here plans or acts: the leader of ``service.runtime`` takes up what is
wanted.
"""
