from . import figures as figures
from .activations.collecting import (
    collect as collect,
)
from .activations.loading import (
    load_activations as load_activations,
    verify_activations as verify_activations,
)
from .activations.values import (
    Activations as Activations,
    StoredActivations as StoredActivations,
)
from .circuit_tasks.items import (
    TaskItem as TaskItem,
)
from .circuit_tasks.loading import (
    load_task as load_task,
    task_names as task_names,
)
from .circuit_tasks.own import (
    read_items as read_items,
    write_items as write_items,
)
from .circuit_tasks.task import (
    Task as Task,
)
from .columns import (
    group_split as group_split,
)
from .contrasts import (
    Contrast as Contrast,
    aligned_pairs as aligned_pairs,
)
from .directions import (
    Direction as Direction,
    Subspace as Subspace,
)
from .evidence import (
    Evidence as Evidence,
)
from .examples import (
    Examples as Examples,
)
from .facts.attributes import (
    EntityAttributes as EntityAttributes,
    attribute_sets as attribute_sets,
    entity_attributes as entity_attributes,
)
from .facts.further.questions import (
    FurtherQuestions as FurtherQuestions,
    TrueOrFalse as TrueOrFalse,
    TwoSteps as TwoSteps,
)
from .facts.loading import (
    fact_names as fact_names,
    load_facts as load_facts,
)
from .facts.own_statements import (
    load_statements as load_statements,
)
from .facts.prompts.files import (
    OpenPrompt as OpenPrompt,
    PromptSet as PromptSet,
    load_prompts as load_prompts,
)
from .facts.truth import (
    truth_sets as truth_sets,
    truth_statements as truth_statements,
)
from .facts.types import (
    Card as Card,
    Fact as Fact,
    FactSet as FactSet,
    Statements as Statements,
)
from .figures.paper.tables import (
    Table as Table,
    table as table,
)
from .generation import (
    Generated as Generated,
    generate as generate,
)
from .lens.logit_lens import (
    LogitLens as LogitLens,
    logit_lens as logit_lens,
)
from .metrics.answers import (
    answer_log_prob as answer_log_prob,
    closed_set_correct as closed_set_correct,
    fact_contrast as fact_contrast,
    logit_difference as logit_difference,
    says as says,
    token_contrast as token_contrast,
    top1_is as top1_is,
)
from .metrics.base import (
    Metric as Metric,
)
from .metrics.own import (
    metric as metric,
)
from .metrics.sets import (
    probability_difference as probability_difference,
)
from .models.loading import (
    load_model as load_model,
    load_pair as load_pair,
    wrap as wrap,
)
from .models.model import (
    Model as Model,
)
from .models.pair import (
    ModelPair as ModelPair,
)
from .prompts import (
    first_token as first_token,
)
from .runs.distributing import (
    distribute as distribute,
)
from .runs.run import (
    require_whole as require_whole,
    resumable as resumable,
)
from .sites import (
    Kind as Kind,
    Site as Site,
    boundaries as boundaries,
    boundary as boundary,
    every_head as every_head,
    every_layer as every_layer,
)
from .verdict.judging import (
    judge as judge,
)
from .verdict.outcomes import (
    Outcomes as Outcomes,
)
from .verdict.result import (
    Verdict as Verdict,
)
from .verdict.thresholds import (
    Thresholds as Thresholds,
)
