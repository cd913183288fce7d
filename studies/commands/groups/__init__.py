"""Commands with commands inside: `interp study`, `interp facts`, `interp organisms`."""
