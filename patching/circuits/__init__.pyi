from .circuit import (
    Circuit as Circuit,
)
from .formats.files import (
    read_circuit as read_circuit,
    write_circuit as write_circuit,
)
from .formats.mib import (
    read_mib as read_mib,
    write_mib as write_mib,
)
from .formats.tracer import (
    write_tracer as write_tracer,
)
from .graph import (
    Graph as Graph,
)
