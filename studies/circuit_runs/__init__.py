"""Circuits as the command line asks for them: found, evaluated, compared, drawn and exported."""
