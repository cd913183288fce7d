"""The commands behind `interp`, one module an idea; `studies.cli` registers them."""
