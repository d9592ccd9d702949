"""Performed procedure steps (PS3.4 annex F): the standard's rules, and what a step means here.

It knows no sockets, no SQL and no HTTP: datasets come in as bytes or as pydicom's, and what came
of them goes out as values and statuses of the standard.
"""
