from .circuit import (
    Circuit as Circuit,
)
from .graph import (
    Graph as Graph,
)
