from .catalogue import (
    KnownCircuit as KnownCircuit,
    known_circuit as known_circuit,
    known_circuit_names as known_circuit_names,
)
from .scoring import (
    score_known_circuits as score_known_circuits,
)
