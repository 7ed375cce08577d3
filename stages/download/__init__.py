"""Download one part of a URL table: what may be asked for, under which limits, and what is kept of each response.

A fetching engine (`engines/`) gets the bytes; every decision about a URL, a response or a picture is made in this room.
"""
