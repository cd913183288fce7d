from .circuit_truth.catalogue import (
    KnownCircuit as KnownCircuit,
    known_circuit as known_circuit,
    known_circuit_names as known_circuit_names,
)
from .circuit_truth.scoring import (
    score_known_circuits as score_known_circuits,
)
from .comparison.comparing import (
    compare as compare,
)
from .comparison.result import (
    Comparison as Comparison,
)
from .knowing import (
    Knowing as Knowing,
    know as know,
)
from .planning.jobs import (
    plan as plan,
)
from .planning.open.scans import (
    plan_scan as plan_scan,
)
from .planning.plans import (
    Cost as Cost,
    JobPlan as JobPlan,
    StagePlan as StagePlan,
)
from .planning.sizing import (
    SizePlan as SizePlan,
    plan_size as plan_size,
)
from .recalling import (
    Recall as Recall,
    recall as recall,
)
from .runs import (
    summary as summary,
)
from .scanning.scanning import (
    Scan as Scan,
    scan as scan,
)
from .scores.scorecard import (
    Scorecard as Scorecard,
    scorecard as scorecard,
)
