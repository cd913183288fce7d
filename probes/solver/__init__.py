"""The batched Newton solver behind the logistic probe."""
