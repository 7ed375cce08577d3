"""The toy world: pictures, a web server, tables, a corpus and a language model that we make ourselves.

Real input with right answers known: everything here is a pure function of a seed and a name.
"""
