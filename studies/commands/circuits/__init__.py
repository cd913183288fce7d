"""`interp circuits`: its commands."""
