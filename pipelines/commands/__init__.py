"""The commands of `neo`, one file each: read the arguments, ask the other rooms, print the answer."""
