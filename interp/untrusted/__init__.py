"""Files that others wrote: how large they may be, where they may lie, and how they are read."""
