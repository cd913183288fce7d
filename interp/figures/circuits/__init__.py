"""Figures of circuits: the layered graph, maps of edges, faithfulness, and attention with tokens."""
