from .crossing import (
    Handover as Handover,
    first_crossing as first_crossing,
    handover as handover,
)
from .intervals import (
    Interval as Interval,
    check_count as check_count,
    checked_values as checked_values,
    clopper_pearson as clopper_pearson,
    fieller as fieller,
    group_bootstrap as group_bootstrap,
    group_means as group_means,
    mean_interval as mean_interval,
    wilson as wilson,
)
from .rates import (
    auroc as auroc,
    balanced_accuracy as balanced_accuracy,
)
from .resampling import (
    bootstrap as bootstrap,
    drawn_units as drawn_units,
    resample_counts as resample_counts,
)
from .testing import (
    benjamini_hochberg as benjamini_hochberg,
    equivalent as equivalent,
    holm as holm,
    max_statistic_p as max_statistic_p,
    mean_p as mean_p,
    share_p as share_p,
)
