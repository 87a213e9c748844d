"""The Language Server Protocol: the server, its client, and conversion to the types of the protocol."""
