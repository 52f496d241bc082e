"""The client of the HTTP API, which the commands of an operator stand on."""
