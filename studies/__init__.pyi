from .comparison.comparing import (
    Comparison as Comparison,
    compare as compare,
)
from .knowing import (
    Knowing as Knowing,
    know as know,
)
from .planning.jobs import (
    plan as plan,
)
from .planning.plans import (
    Cost as Cost,
    JobPlan as JobPlan,
    StagePlan as StagePlan,
)
from .planning.scan_jobs import (
    plan_scan as plan_scan,
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
