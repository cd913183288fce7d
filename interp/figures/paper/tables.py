"""Tables for a paper: estimates with their intervals, as LaTeX with booktabs and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from interp._files import write_text
from interp.evidence import Evidence
from interp.evidence.recovery import recovery_table
from interp.figures.captions import about_measurement
from interp.figures.patch_tables import position_labels, with_tokens

#: What LaTeX reads as its own, and how it is written.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "…": r"\dots{}",
    "↵": r"$\hookleftarrow$", "←": r"$\leftarrow$", "−": "$-$", "·": r"$\cdot$", "κ": r"$\kappa$",
}  # fmt: skip

#: Endings of the columns that stand beside an estimate rather than on their own.
_ENDS = ("low", "high")


@dataclass(frozen=True)
class Table:
    """A table for a paper.

    Attributes:
        frame: the texts of its cells, an estimate and its interval in one.
        numbers: which of its columns are numbers, and stand at the right.
        caption: may be empty.
        label: by which LaTeX refers to it; may be empty.
        note: what stands below it; may be empty.
    """

    frame: pd.DataFrame
    numbers: tuple[str, ...] = ()
    caption: str = ""
    label: str = ""
    note: str = ""

    def __repr__(self) -> str:
        """How large it is."""
        rows, columns = self.frame.shape
        return f"Table({rows} rows, {columns} columns; latex, markdown, save)"

    @property
    def latex(self) -> str:
        """The table in LaTeX; it needs the package booktabs."""
        aligned = "".join("r" if name in self.numbers else "l" for name in self.frame)
        lines = [[_escaped(name) for name in self.frame]]
        lines += [[_escaped(cell) for cell in row] for row in self.frame.to_numpy(dtype=object)]
        head, *body = (f"{' & '.join(line)} \\\\" for line in lines)
        inside = "\n".join(["\\toprule", head, "\\midrule", *body, "\\bottomrule"])
        tabular = f"\\begin{{tabular}}{{{aligned}}}\n{inside}\n\\end{{tabular}}\n"
        if self.note:
            tabular += f"\\par\\smallskip {{\\footnotesize {_escaped(self.note)}}}\n"
        if not self.caption:
            return tabular
        label = f"\\label{{{self.label}}}\n" if self.label else ""
        caption = f"\\caption{{{_escaped(self.caption)}}}\n"
        return f"\\begin{{table}}\n\\centering\n{caption}{label}{tabular}\\end{{table}}\n"

    @property
    def markdown(self) -> str:
        """The table in Markdown."""
        marks = ["---:" if name in self.numbers else ":---" for name in self.frame]
        rows = [list(map(str, self.frame)), marks, *self.frame.to_numpy(dtype=object).tolist()]
        lines = ["| " + " | ".join(str(c).replace("|", r"\|") for c in row) + " |" for row in rows]
        below = [text for text in (self.caption, self.note) if text]
        return "\n".join([*lines, *(line for text in below for line in ("", text))]) + "\n"

    def _repr_html_(self) -> str:
        return str(self.frame.to_html(index=False, escape=True))

    def save(self, path: str | Path) -> Path:
        """Write it as a .tex or .md file, under a temporary name that is then changed.

        Args:
            path: its ending says the format.

        Returns:
            The file.

        Raises:
            ValueError: for another ending.
        """
        path = Path(path)
        texts = {".tex": self.latex, ".md": self.markdown}
        if path.suffix not in texts:
            raise ValueError(f"{path} must end in .tex or .md; got {path.suffix or 'no ending'!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_text(path, texts[path.suffix])


def table(
    rows: Evidence | pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    digits: int = 2,
    caption: str = "",
    label: str = "",
) -> Table:
    """Make a table for a paper of estimates with their intervals.

    An estimate and its bounds become one cell, "0.53 [0.41, 0.66]": columns estimate, low and high, or
    NAME, NAME_low and NAME_high, as `studies.summary` gives them.

    Of evidence that was patched at every position the table is laid out as its picture: a row for each
    layer, a column for each position under its tokens, and n in a note below.

    Args:
        rows: such a table; or evidence of pairs, of which the recovery of every place is shown.
        columns: which columns are shown, in order, a row for each estimate; by default all that vary
            or are numbers.
        digits: after the point.
        caption: makes the LaTeX a floating table with this caption.
        label: by which LaTeX refers to it.

    Returns:
        A table with the texts `latex` (needs booktabs) and `markdown`, which `save` writes.

    Raises:
        ValueError: for a table without rows, or without one of the columns.

    Example:
        >>> import interp, pandas as pd
        >>> rows = pd.DataFrame({"span": ["last"], "estimate": [0.526], "low": [0.41], "high": [0.664]})
        >>> print(interp.table(rows).markdown)
        | span | estimate |
        | :--- | ---: |
        | last | 0.53 [0.41, 0.66] |
        <BLANKLINE>
    """
    if isinstance(rows, Evidence):
        recovered = recovery_table(rows)
        if columns is None and _is_grid(recovered):
            return _grid(recovered, rows, digits, caption, label)
        rows = recovered
    if rows.empty:
        raise ValueError("a table needs at least one row, got none; check what was selected")
    bounds = {str(name): _bounds(rows, str(name)) for name in rows}
    beside = {bound for pair in bounds.values() if pair for bound in pair}
    wanted = [str(n) for n in rows if str(n) not in beside] if columns is None else list(columns)
    missing = [name for name in wanted if name not in rows]
    if missing:
        known = ", ".join(map(str, rows))
        raise ValueError(f"the table has no column {missing[0]!r}; it has {known}; choose among them")
    if columns is None:
        wanted = [n for n in wanted if len(rows) == 1 or bounds[n] or rows[n].nunique(dropna=False) > 1]
    numeric = tuple(n for n in wanted if pd.api.types.is_numeric_dtype(rows[n]))
    cells = {n: [_cell(row, n, bounds[n], digits) for row in rows.to_dict("records")] for n in wanted}
    return Table(pd.DataFrame(cells, dtype=object), numeric, caption, label)


def _is_grid(rows: pd.DataFrame) -> bool:
    """Whether every estimate has a layer and a position of its own beside what tells grids apart."""
    place = ["layer", "position"]
    if "head" in rows or not set(place) <= set(rows) or rows[place].isna().to_numpy().any():
        return False
    return not rows.duplicated([*_key(rows), *place]).any()


def _key(rows: pd.DataFrame) -> list[str]:
    """The columns that tell several grids apart."""
    measured = {"layer", "position", "estimate", "low", "high", "n"}
    return [str(n) for n in rows if n not in measured and rows[n].nunique(dropna=False) > 1]


def _grid(rows: pd.DataFrame, evidence: Evidence, digits: int, caption: str, label: str) -> Table:
    """Layers by positions, each position under its tokens; what is measured, and n, in a note."""
    key = _key(rows)
    labels = position_labels(with_tokens(rows.copy(), evidence))
    heads = {at: f"{at} {text}" if text != str(at) else text for at, text in labels.items()}
    texts = [_cell(row, "estimate", ("low", "high"), digits) for row in rows.to_dict("records")]
    cells = rows.assign(cell=texts).astype({"layer": int, "position": int})
    wide = cells.pivot(index=[*key, "layer"], columns="position", values="cell").fillna("–")
    frame = wide.rename(columns=heads).rename_axis(columns=None).reset_index()
    about = about_measurement(evidence)
    n = sorted({int(value) for value in rows["n"]})
    pairs = f"n = {' to '.join(map(str, dict.fromkeys((n[0], n[-1]))))} pair{'s' * (n[-1] > 1)}"
    interval = "95% intervals" if rows["low"].notna().any() else "no interval: one pair"
    measured = f"Recovery of {about['metric']}" if "metric" in about else "Recovery"
    note = f"{measured}; {pairs}; {interval}."
    return Table(frame.astype(object), ("layer", *heads.values()), caption, label, note)


def _bounds(rows: pd.DataFrame, name: str) -> tuple[str, str] | None:
    """Names of the columns that hold a column's interval."""
    low, high = _ENDS if name == "estimate" else (f"{name}_{end}" for end in _ENDS)
    return (low, high) if {low, high} <= set(rows) else None


def _cell(row: dict, name: str, bounds: tuple[str, str] | None, digits: int) -> str:
    """Text of one cell, with its interval where there is one."""
    value = row[name]
    if pd.isna(value):
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    whole = bounds is None and float(value).is_integer()
    text = str(int(value)) if whole else _number(value, digits)
    if bounds is None or any(pd.isna(row[bound]) for bound in bounds):
        return text
    low, high = (_number(row[bound], digits) for bound in bounds)
    return f"{text} [{low}, {high}]"


def _number(value: float, digits: int) -> str:
    # Adding zero turns a rounded minus zero into zero.
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def _escaped(text: object) -> str:
    """Text that LaTeX prints as it stands."""
    pattern = "|".join(re.escape(mark) for mark in _LATEX)
    return re.sub(pattern, lambda found: _LATEX[found.group()], str(text)).replace("–", "--")
