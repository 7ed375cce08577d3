"""The toy world: generated pictures, a web server, tables, a corpus and a language model, for demos and tests.

Input of the same kinds as real input, with known right answers; everything is a pure function of a seed and a name.
"""
