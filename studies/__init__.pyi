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
from .planning.plans import (
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
