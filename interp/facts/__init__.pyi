from .attributes import (
    EntityAttributes as EntityAttributes,
    attribute_sets as attribute_sets,
    entity_attributes as entity_attributes,
)
from .further.questions import (
    FurtherQuestions as FurtherQuestions,
    TrueOrFalse as TrueOrFalse,
    TwoSteps as TwoSteps,
)
from .loading import (
    fact_names as fact_names,
    load_facts as load_facts,
)
from .own_statements import (
    load_statements as load_statements,
)
from .pairing import (
    statements_of as statements_of,
)
from .prompts.files import (
    OpenPrompt as OpenPrompt,
    PromptSet as PromptSet,
    load_prompts as load_prompts,
)
from .truth import (
    STATEMENT_NAMES as STATEMENT_NAMES,
    truth_sets as truth_sets,
    truth_statements as truth_statements,
)
from .types import (
    Card as Card,
    Fact as Fact,
    FactSet as FactSet,
    Statements as Statements,
)
