"""Who is asking, and what a role may do. Knows the store, nothing of HTTP."""
