from . import circuits as circuits
from .attribution.carriers import (
    carriers as carriers,
)
from .attribution.edges import (
    attribute_edges as attribute_edges,
)
from .attribution.nodes import (
    attribute as attribute,
)
from .attribution.screening import (
    screen_then_verify as screen_then_verify,
)
from .context import (
    intervened as intervened,
)
from .engine.planning import (
    Plan as Plan,
    plan as plan,
    plan_sweep as plan_sweep,
)
from .engine.sweeping import (
    Swept as Swept,
    record as record,
    sweep as sweep,
)
from .interventions.cells import (
    Cell as Cell,
    Edit as Edit,
)
from .interventions.subspaces import (
    Erase as Erase,
    ProjectOut as ProjectOut,
    SwapSubspace as SwapSubspace,
)
from .interventions.values import (
    Add as Add,
    Features as Features,
    Knockout as Knockout,
    Mean as Mean,
    Replace as Replace,
    Resample as Resample,
    Scale as Scale,
    Zero as Zero,
)
from .methods.ablation import (
    ablate as ablate,
)
from .methods.claims import (
    Claim as Claim,
    ClaimToTest as ClaimToTest,
    measure_use as measure_use,
    swap_and_remove as swap_and_remove,
)
from .methods.grids import (
    cross_patch as cross_patch,
    handover as handover,
    patch_sites as patch_sites,
)
from .methods.knockout import (
    knock_out as knock_out,
)
from .methods.paths import (
    path_patch as path_patch,
)
from .methods.recovery import (
    recovery as recovery,
)
from .methods.shifting import (
    shared_shift as shared_shift,
)
from .methods.steering import (
    generations as generations,
    steer as steer,
    steering_unit as steering_unit,
)
from .methods.stitching import (
    stitch as stitch,
)
from .methods.tracing import (
    causal_trace as causal_trace,
    embedding_noise as embedding_noise,
    trace as trace,
)
from .weights.grafting import (
    component_responsibility as component_responsibility,
    graft as graft,
)
from .weights.parameters import (
    Parameters as Parameters,
)
from .weights.sets import (
    Adapter as Adapter,
    Blocks as Blocks,
    Ends as Ends,
    Heads as Heads,
    Joint as Joint,
    Named as Named,
    RandomLike as RandomLike,
    TopChange as TopChange,
)
