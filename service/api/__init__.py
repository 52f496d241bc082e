"""The HTTP API: one module per noun, each thin: request → use case → answer.

What all of them share stands here too: who asks (``door``), what is read (``asking``) and written
(``answering``), errors (``problems``), pages, revisions and keys.

A noun is a function ``blueprint(services) -> APIBlueprint``, listed in ``service.app.NOUNS``; its
views open a transaction, call a use case and render what it returned. ``tokens`` is the example.
Each view carries ``@operation("noun.verb")`` below its route, with its row in
``service.security.roles``. Parameters of a cluster are called ``cluster_id``, so that a token bound
to one cluster is held to it. Changes of what has a revision take ``etags.expected_revision()``;
what acts goes through ``idempotency.once``.
"""
