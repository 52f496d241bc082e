"""What the service remembers: one store, on SQLite or PostgreSQL.

``base`` says what a store promises, and the other modules keep it. Nothing here knows of HTTP, of
forecasts or of plans being made; documents are kept as they are given.
"""
