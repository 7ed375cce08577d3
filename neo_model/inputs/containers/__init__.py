"""Picture files taken apart: what the pixels of the first frame need, and the few facts that are read beside them."""
