"""Fetching engines: each takes the URLs of one part and gives back their response bodies, or reasons for failures."""
