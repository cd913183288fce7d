from .catalogue import fact_set as fact_set, names as names, source_path as source_path
