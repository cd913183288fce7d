from .answers import (
    answer_log_prob as answer_log_prob,
    closed_set_correct as closed_set_correct,
    divergence as divergence,
    fact_contrast as fact_contrast,
    logit_difference as logit_difference,
    says as says,
    token_contrast as token_contrast,
    token_logit as token_logit,
    top1_is as top1_is,
)
from .base import (
    Metric as Metric,
    logits_of as logits_of,
)
from .own import (
    as_metric as as_metric,
    metric as metric,
    named_metrics as named_metrics,
)
from .sets import (
    probability_difference as probability_difference,
)
