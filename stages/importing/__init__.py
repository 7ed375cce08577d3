"""Importing: pictures and pairs that people have already, read from tars, Parquet and folders."""
