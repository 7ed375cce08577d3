"""What servers ask of a client, beyond the request: whether a picture may be used, and how it is asked for."""
