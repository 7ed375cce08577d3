"""The commands of `neo`, one file each: read the arguments, ask the floor's other modules, say the answer."""
