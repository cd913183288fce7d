"""How values show themselves in a notebook: as small tables, with plain text kept on one line."""
