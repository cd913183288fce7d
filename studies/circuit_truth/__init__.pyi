from .catalogue import (
    CircuitTruth as CircuitTruth,
    circuit_truth as circuit_truth,
    truth_names as truth_names,
)
