from .beliefs.agreement import (
    belief_claim_summary as belief_claim_summary,
    belief_claim_table as belief_claim_table,
    believed_and_said as believed_and_said,
    sincerity as sincerity,
)
from .beliefs.belief import (
    belief as belief,
    posterior as posterior,
)
from .beliefs.claims import (
    Question as Question,
    claims as claims,
)
from .comparisons.erasure import (
    check_erasure as check_erasure,
    inlp as inlp,
    leace as leace,
)
from .comparisons.generalisation import (
    generalisation as generalisation,
    generalisation_matrix as generalisation_matrix,
)
from .comparisons.transfer import (
    read_transfer as read_transfer,
    transfer as transfer,
)
from .contrast import (
    contrast_consistent as contrast_consistent,
)
from .controls import (
    bag_of_tokens as bag_of_tokens,
    control_directions as control_directions,
    control_subspaces as control_subspaces,
    surface_features as surface_features,
)
from .cross_validation import (
    cross_validate as cross_validate,
    sweep as sweep,
    train_test as train_test,
)
from .estimators.base import (
    Estimator as Estimator,
)
from .estimators.class_means import (
    LDA as LDA,
    MassMean as MassMean,
    PCAMeans as PCAMeans,
    Principal as Principal,
)
from .estimators.logistic import (
    Logistic as Logistic,
    solve_logistic as solve_logistic,
)
from .estimators.named import (
    ESTIMATORS as ESTIMATORS,
)
from .estimators.ridge import (
    Ridge as Ridge,
    RidgeClassifier as RidgeClassifier,
)
from .estimators.sparse import (
    KSparse as KSparse,
)
from .linear import (
    LinearProbe as LinearProbe,
    fit as fit,
)
from .measures.accuracy import (
    accuracy as accuracy,
    balanced_accuracy as balanced_accuracy,
    selectivity as selectivity,
)
from .measures.calibration import (
    held_out_margins as held_out_margins,
    margins as margins,
    score_table as score_table,
    scores as scores,
)
from .measures.description_length import (
    compression as compression,
    description_length as description_length,
    learning_curve as learning_curve,
)
from .measures.permutation import (
    adjust_p_values as adjust_p_values,
    corrected as corrected,
    permutation_null as permutation_null,
)
from .multi_label import (
    cross_validate_labels as cross_validate_labels,
    fit_labels as fit_labels,
)
from .quantities import (
    QuantityProbe as QuantityProbe,
    cross_validate_quantity as cross_validate_quantity,
    explained as explained,
    explained_beyond as explained_beyond,
    fit_quantity as fit_quantity,
    r_squared as r_squared,
    r_squared_gain as r_squared_gain,
)
from .sklearn_api import (
    ProbeClassifier as ProbeClassifier,
    ProbeRegressor as ProbeRegressor,
)
from .splits import (
    SmallSample as SmallSample,
)
