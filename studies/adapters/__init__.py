"""Low-rank adapters for SmolLM2 whose content and place are known because they were imposed."""
