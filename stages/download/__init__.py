"""Downloading one part of a URL table: what may be asked of the web, how long, and what is kept of the answer.

img2dataset's `Downloader` drives the threads of a part; everything it lets somebody else decide is decided here.
"""
