"""Tasks that circuits are found on: prompts with counterfactuals of equal length, for any tokenizer.

task = load_task(model, "indirect_object")     # or "mine.json", or a list of TaskItem
task.contrast, task.metric                     # what every method of `patching` takes
task.dropped                                   # what this tokenizer cannot ask, counted
task.performance(model)                        # whether the model does the task at all
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
