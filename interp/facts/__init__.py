"""Real-world facts by name or from a user's file, and true/false statements about them.

    facts = load_facts("capitals")            # or "facts.csv", a Path, a DataFrame
    facts.prompts(0)[0]                       # "The capital of Afghanistan is the city of"
    truth_statements("cities", seed=0)        # as many true as false sentences
    load_statements("cities.csv")             # statement,label as published, or a user's own
    truth_sets()["cities"].confounds          # what else could tell the label

Further names are found through the entry-point group `interp.facts`: every entry point loads to a
function without arguments that returns a FactSet.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
