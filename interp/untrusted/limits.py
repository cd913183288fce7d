"""How much of a file of others is read: the one home of every limit.

A limit stands well above what real files hold, and well below what a machine has.
"""

from __future__ import annotations

MIB = 2**20

#: Bytes of a JSON file of settings: a configuration, an index of weights, an adapter's settings.
SETTINGS = 64 * MIB

#: Bytes of one file of a tokenizer.
TOKENIZER = 256 * MIB

#: Bytes of a table as text: CSV, TSV, JSONL.
TABLE = 128 * MIB

#: Bytes of what a run keeps beside its evidence: verdict.json, provenance.
RUN = 256 * MIB

#: Bytes of a circuit's file: every edge of a model by name, with its score.
CIRCUIT = 512 * MIB

#: Bytes of the header of a safetensors file.
HEADER = 64 * MIB

#: How deep JSON may be nested.
DEPTH = 64

#: Rows of a parquet file that are read whatever its size, and further rows for each of its bytes.
ROWS, ROWS_A_BYTE = 1_000_000, 16

#: Columns of a table.
COLUMNS = 10_000

#: Bytes that one column of texts may take once its repetitions are written out.
COLUMN_BYTES = 2048 * MIB

#: Entries of a GGUF file: settings, tensors, members of one list.
GGUF_SETTINGS, GGUF_TENSORS, GGUF_LIST = 10_000, 100_000, 4_000_000

#: Numbers that a byte of a quantised weight stands for, at the most.
NUMBERS_A_BYTE = 8

#: Layers, blocks or experts that a configuration may ask for.
PARTS = 1024

#: Numbers a model or adapter may hold beyond those in its files, and in multiples of those.
SPARE_NUMBERS, SPARE_TIMES = 2**26, 16
