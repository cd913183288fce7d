"""Work as the command line asks for it: done at once, or part by part in a folder."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import typer

from interp._files import write_text
from interp.progress import announce, announced, job, stage
from interp.runs.checksums import SUMS, write_checksums
from interp.runs.manifest import MANIFEST, UNITS, read_json, remove_units, require_same_job
from studies.commands.runs.folders import fresh, interruptible

if TYPE_CHECKING:
    from interp.facts.prompts.files import PromptSet
    from interp.facts.types import FactSet
    from interp.models.model import Model
    from interp.models.pair import ModelPair
    from studies.planning.plans import JobPlan

#: What a run does, in its folder; in it the command, and the folder that it was begun from.
COMMAND, NAME, WHERE = "command.json", "command", "begun in"


class Loaded(NamedTuple):
    """What is asked of two models, on facts or prompts, and a null tune where one was given."""

    pair: ModelPair
    task: FactSet | PromptSet
    null: Model | None = None


@dataclass(frozen=True, kw_only=True)
class Work(ABC):
    """One piece of work as the command line asks for it; its attributes are the command's options."""

    base: str
    tuned: str
    prompt: str
    device: str
    dtype: str
    budget: float
    seed: int
    prompts: str | None = None
    tokens: int | None = None

    #: The command, and the page that it writes last.
    command: ClassVar[str]
    page: ClassVar[str]

    @property
    @abstractmethod
    def title(self) -> str:
        """The work in a few words."""

    @property
    @abstractmethod
    def stages(self) -> Mapping[str, int]:
        """Its stages and their rough shares of the time."""

    @abstractmethod
    def read(self) -> FactSet | PromptSet:
        """What is asked."""

    @abstractmethod
    def about(self, loaded: Loaded) -> dict[str, Any]:
        """What its folder is known by."""

    @abstractmethod
    def measured(self, loaded: Loaded, folder: Path | None = None) -> Any:
        """The result; a folder gets what is known before parts that take long."""

    @abstractmethod
    def planned(self, loaded: Loaded) -> JobPlan:
        """What it would cost."""

    @abstractmethod
    def ahead(self, loaded: Loaded) -> JobPlan | None:
        """What it would cost, told in seconds and without asking; None where it must be asked."""

    @abstractmethod
    def saved(self, result: Any, folder: Path) -> None:
        """Write the result into a folder."""

    @abstractmethod
    def tell(self, result: Any, notes: Sequence[str], folder: Path) -> None:
        """Say what came out, and what is to be said of what was asked."""

    @property
    def early(self) -> str | None:
        """A file that is written before parts that take long, and is of use by itself."""
        return None

    @property
    def models(self) -> tuple[str | None, ...]:
        """The names of the models."""
        return self.base, self.tuned

    @property
    def asked(self) -> str:
        """Name of what is asked."""
        return self.prompts or "the shipped prompts"

    @property
    def way(self) -> Literal["raw", "chat"]:
        """How the models are asked."""
        return "chat" if self.prompt == "chat" else "raw"

    @property
    def max_bytes(self) -> int:
        """Memory for activations beside the models."""
        return int(self.budget * 2**30)

    def to_dict(self) -> dict[str, Any]:
        """The options by name."""
        return asdict(self)

    def options(self) -> list[str]:
        """The options of the command that ask for it, as a shell takes them."""
        told: list[tuple[str, ...]] = []
        for name, value in self.to_dict().items():
            if value is not None and value is not False:
                told.append((f"--{name}",) if value is True else (f"--{name}", str(value)))
        return [text for option in told for text in option]

    def begin(self, out: Path | None, shard: str | None = None, *, resume: bool = False) -> Any:
        """Do it: part by part in a folder where that is asked for, else at once.

        Args:
            out: the folder; None for a fresh numbered one.
            shard: which share of it is made, and no page.
            resume: whether a run before is gone on with.

        Returns:
            The result; None where it was there already, or only a share was made.

        Raises:
            ValueError: if the folder is another run's, or holds something else.
        """
        if out is not None and (resume or shard):
            return self.resumed(out, shard)
        announce(f"{self.title} on {self.asked}; reading them …")
        with fresh(out, keeps=self.early) as folder:
            return self.done(folder)

    def resumed(self, out: Path, shard: str | None = None) -> Any:
        """Do it part by part in a folder, from where a run before has come to; see `begin`."""
        if self.finished(out):
            return None
        with self.kept(out) as folder:
            return self.done(folder, run=True, shard=shard)

    def done(self, folder: Path, *, run: bool = False, shard: str | None = None) -> Any:
        """Do it, write its page into a folder, and tell what came out.

        Args:
            folder: an empty folder, or that of a run.
            run: whether its parts are kept there as they are made.
            shard: which share of them is made, and no page.

        Returns:
            The result; None of a share.
        """
        with job(self.title, self.stages):
            loaded = self.loaded()
            if shard is None and not (folder / UNITS).exists():
                self.foretell(loaded)
            from interp.runs.run import ShareDone, resumable

            parts: AbstractContextManager[Any] = nullcontext()
            if run:
                parts = resumable(folder, job=self.about(loaded), shard=shard)
            try:
                with parts:
                    if run:
                        self.note(folder)
                    result = self.measured(loaded, folder)
                    self.note(folder)
                    self.saved(result, folder)
            except ShareDone as share:
                typer.echo(f"{share}; when all shards are, join them: interp merge DIR … --out DIR")
                return None
            if run:
                remove_units(folder)
        self.tell(result, notes_of(loaded), folder)
        return result

    def foretell(self, loaded: Loaded) -> None:
        """Say beforehand how long it takes, where somebody watches."""
        planned = self.ahead(loaded) if announced() else None
        if planned is not None:
            self.tell_ahead(len(planned.stages), planned.seconds)

    def tell_ahead(self, stages: int, seconds: float) -> None:
        """Say how long so many stages take."""
        from studies.planning.plans import in_time

        announce(f"{self.title}: {stages} stages, about {in_time(seconds)}")

    def loaded(self) -> Loaded:
        """What is asked, and the models."""
        stage("reading the facts")
        task = self.read()
        from interp.models.named import require_findable

        require_findable(*self.models)
        stage("loading the base")  # and, before it, what it takes to load one
        from interp.models.loading import load_pair

        return Loaded(load_pair(self.base, self.tuned, device=self.device, dtype=self.dtype), task)

    def finished(self, out: Path) -> bool:
        """Whether a folder holds its page; what is left of the run is then cleared away.

        Raises:
            ValueError: if it holds that of another.
        """
        if not ((out / self.page).exists() and (out / MANIFEST).exists()):
            return False
        require_same_job(out, named_in(out), self.named())
        if not (out / SUMS).exists():  # killed between the two
            write_checksums(out)
        remove_units(out)
        typer.echo(f"finished already\n{self.page.partition('.')[0]}: {out / self.page}")
        return True

    @contextmanager
    def kept(self, out: Path) -> Iterator[Path]:
        """The folder of a run, whose parts stay when it is interrupted."""
        announce(f"{self.title} on {self.asked} in {out} …")
        with interruptible(out), fresh(out, resume=True) as folder:
            yield folder

    def note(self, folder: Path) -> None:
        """Write it into the folder, so that it can be done from there."""
        folder.mkdir(parents=True, exist_ok=True)
        held = {**self.named(), WHERE: str(Path.cwd())}
        write_text(folder / COMMAND, json.dumps(held, indent=1))

    def named(self) -> dict[str, Any]:
        """The command and its options."""
        return {NAME: self.command, **self.to_dict()}


def named_in(folder: Path) -> dict[str, Any]:
    """The command and the options of a folder's run; files that are not found from here in full."""
    named = read_json(folder / COMMAND) or {}
    began = Path(str(named.pop(WHERE, "")))
    for name in ("base", "tuned", "facts", "prompts", "null"):
        given = named.get(name)
        if isinstance(given, str) and not Path(given).exists() and (began / given).exists():
            named[name] = str(began / given)
    return named


def notes_of(loaded: Loaded) -> list[str]:
    """What is to be said of the models and of what is asked of them."""
    return [*loaded.pair.warnings, *loaded.task.notes]
