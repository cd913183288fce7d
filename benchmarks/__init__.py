"""Timings against the libraries a user would pick instead."""
