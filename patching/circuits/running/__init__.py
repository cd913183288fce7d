"""Models run node by node, with what edges outside of a circuit carry."""
