"""One module per page: what it shows, and what happens on it."""
