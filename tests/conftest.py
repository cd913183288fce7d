"""Shape checks for every test, and tiny models built from configurations."""

from __future__ import annotations

import jaxtyping

# Before anything of ours is imported: every annotation is then checked at run time.
jaxtyping.install_import_hook(["interp", "probes", "patching", "studies"], "beartype.beartype")

import pytest  # noqa: E402
import tiny  # noqa: E402
from hypothesis import settings  # noqa: E402

from interp.models.loading import wrap  # noqa: E402
from interp.models.model import Model  # noqa: E402
from interp.models.pair import ModelPair  # noqa: E402

# The same examples in every run of `make test`; `make test-all` draws new ones.
settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A word-level tokenizer over `tiny.WORDS`, loaded back from a folder."""
    return tiny.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def tiny_model(tokenizer):
    """`tiny_model(family, seed=0) -> Model`: random weights, three blocks, built once each."""
    made: dict[tuple[str, int], Model] = {}

    def make(family: str, seed: int = 0) -> Model:
        if (family, seed) not in made:
            made[family, seed] = wrap(tiny.hf_model(family, seed), tokenizer, name=family)
        return made[family, seed]

    return make


@pytest.fixture(scope="session")
def tiny_pair(tiny_model):
    """`tiny_pair(family) -> ModelPair`: two models of one configuration and different weights."""
    return lambda family: ModelPair(tiny_model(family, 0), tiny_model(family, 1))


@pytest.fixture(params=["gpt2", "neox", "llama", "gemma3"])
def family_model(request, tiny_model) -> Model:
    """One model of each family the engine is held to: among them grouped queries and windows."""
    return tiny_model(request.param)
