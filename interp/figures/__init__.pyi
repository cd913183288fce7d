from . import tables as tables
from .choosing import (
    plot as plot,
)
from .circuits.attention import (
    attention_patterns as attention_patterns,
    attention_table as attention_table,
)
from .circuits.curves import (
    faithfulness_curves as faithfulness_curves,
    score_scatter as score_scatter,
)
from .circuits.graph import (
    circuit_graph as circuit_graph,
    edge_heatmap as edge_heatmap,
)
from .circuits.nodes import (
    node_heatmap as node_heatmap,
)
from .comparison import (
    claim_dots as claim_dots,
    cross_patch_curves as cross_patch_curves,
    responsibility_bars as responsibility_bars,
    shared_shift_curves as shared_shift_curves,
    stitch_curves as stitch_curves,
)
from .figure import (
    Figure as Figure,
)
from .grid import (
    patch_grid as patch_grid,
)
from .lens import (
    logit_lens as logit_lens,
)
from .patching import (
    handover_curves as handover_curves,
    handover_heatmap as handover_heatmap,
    patch_heatmap as patch_heatmap,
)
from .probes import (
    generalisation_heatmap as generalisation_heatmap,
    probe_curves as probe_curves,
    transfer_curves as transfer_curves,
)
from .ranking import (
    forest as forest,
    head_ranking as head_ranking,
)
from .scanning import (
    lens_dots as lens_dots,
    ranked_prompts as ranked_prompts,
    scale_sweep as scale_sweep,
    token_shifts as token_shifts,
    weight_spectrum as weight_spectrum,
)
from .style import (
    figure_json as figure_json,
    plotly_javascript as plotly_javascript,
)
