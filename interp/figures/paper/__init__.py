"""Figures and tables on paper: venues, the renderer by matplotlib, and the files it writes."""
