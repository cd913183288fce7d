from .circuit import (
    Circuit as Circuit,
)
from .cutoffs import (
    Cutoffs as Cutoffs,
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
from .measures.comparing import (
    CircuitDiff as CircuitDiff,
    diff as diff,
)
from .measures.faithfulness import (
    benchmark_areas as benchmark_areas,
    faithfulness as faithfulness,
)
from .measures.hybrids import (
    hybrid_circuits as hybrid_circuits,
)
from .measures.properties import (
    completeness as completeness,
    edge_auroc as edge_auroc,
    minimality as minimality,
)
from .measures.runs import (
    evaluate as evaluate,
    run_circuits as run_circuits,
)
from .measures.verdict import (
    Verdict as Verdict,
)
from .scores.edges import (
    score_edges as score_edges,
)
from .scores.nodes import (
    score_nodes as score_nodes,
)
from .scores.results import (
    EdgeScores as EdgeScores,
    NodeScores as NodeScores,
)
from .search.choosing import (
    above as above,
    greedy as greedy,
    verify as verify,
)
from .search.pruning import (
    prune as prune,
)
from .search.stability import (
    Discovery as Discovery,
    discover as discover,
    stability as stability,
)
