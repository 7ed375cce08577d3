"""Origins: where data enters the system, and how its rows are read, cut into parts and cleaned."""
