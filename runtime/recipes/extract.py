"""Recipes out of files: which recipe a file follows, whether it follows a given one; to and from llama-quantize."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from subbyte.errors import FormatError, ModelRefused, ResourceError, UnsupportedError
from subbyte.kernels import FORMATS
from subbyte.runtime.files import UnfitFile, read_regular
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.names import kind_of
from subbyte.runtime.recipes.file_types import FLOATS
from subbyte.runtime.recipes.matrices import ModelTraits, locate, matrices
from subbyte.runtime.recipes.notes import notes
from subbyte.runtime.recipes.recipe import MAX_BYTES, Recipe
from subbyte.runtime.recipes.rule import QuantizableTensor, Rule
from subbyte.runtime.records import Record
from subbyte.runtime.text import printable, quoted

IMATRIX = "quantize.imatrix."  # how keys begin that tell of an importance matrix

# What `typical` shows a mixture for: the tensors of most models of 7 to 9 billion weights.
LAYERS, ROW = 32, 4096
KINDS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True, slots=True)
class Difference(Record):
    """A tensor that has another type than a recipe gives it."""

    name: str
    found: str
    wanted: str


def extract(gguf: GGUF) -> Recipe:
    """The types of a file's matrices as a recipe that gives the same ones.

    Raises ModelRefused for a file of none, UnsupportedError for one of types that no recipe can give.
    """
    types = _types(gguf)
    if odd := [name for name, type in types.items() if type not in FORMATS]:
        found = f"{gguf.path}: tensor {quoted(odd[0])} is {types[odd[0]]}, which can't be written"
        raise UnsupportedError(f"{found}; recipes have {', '.join(FORMATS)}")
    return compress(types, matrices(gguf, imatrix=_had_imatrix(gguf)), gguf.path.stem)


def check(gguf: GGUF, recipe: Recipe) -> list[Difference]:
    """The matrices of a file that are not what the recipe makes of them.

    Whether an importance matrix was there when it was quantized, on which some mixtures turn, is read from the file.
    """
    types = _types(gguf)
    wanted = {matrix.name: recipe.type_of(matrix) for matrix in matrices(gguf, imatrix=_had_imatrix(gguf))}
    return [Difference(name, types[name], type) for name, type in wanted.items() if types[name] != type]


def resolve(gguf: GGUF, recipe: Recipe, *, imatrix: bool) -> Recipe:
    """What a recipe means for one file, in rules that name types only."""
    tensors = matrices(gguf, imatrix=imatrix)
    return compress({matrix.name: recipe.type_of(matrix) for matrix in tensors}, tensors, recipe.name)


def notes_of(gguf: GGUF, recipe: Recipe, *, imatrix: bool) -> tuple[str, ...]:
    """Where a file can't be what the recipe says, see `notes.py`."""
    return notes(recipe, matrices(gguf, imatrix=imatrix))


def typical(recipe: Recipe) -> Recipe:
    """What a recipe means for 32 layers, 4 query heads to a KV head, an output of its own, with importances."""
    names = ["token_embd.weight", "output.weight", *(f"blk.{i}.{kind}.weight" for i in range(LAYERS) for kind in KINDS)]
    tensors = locate([(name, ROW) for name in names], ModelTraits(LAYERS, 4, False), imatrix=True)
    return compress({matrix.name: recipe.type_of(matrix) for matrix in tensors}, tensors, recipe.name)


def export(gguf: GGUF, recipe: Recipe, *, imatrix: bool) -> tuple[str, list[str]]:
    """A recipe for llama-quantize: the file type to give, and the lines of a --tensor-type-file, one for each type.

    All matrices are named, each by one line only. With a file type of floats llama-quantize takes no such lines, so
    that there are none unless a matrix is quantized.
    """
    tensors = matrices(gguf, imatrix=imatrix)
    types = {matrix.name: recipe.type_of(matrix) for matrix in tensors}
    quantized = Counter(type for type in types.values() if type not in FLOATS)
    if not quantized:
        if len(set(types.values())) > 1:
            raise ValueError("llama-quantize can't mix types of floats without any other; write the file with subbyte")
        return Recipe("", next(iter(types.values())), pure=True).file_type, []
    lines = []
    for (kind, type), layers in _by_kind(types, tensors).items():
        where = "" if layers == [None] else rf"blk\.({'|'.join(map(str, layers))})\."
        lines.append(f"^{where}{_pattern(kind)}\\.weight$={type.lower()}")
    return Recipe("", quantized.most_common(1)[0][0], pure=True).file_type, lines


def from_tensor_types(path: Path, mix: str) -> Recipe:
    """The recipe that a --tensor-type-file of llama-quantize means beside a file type.

    Its lines, PATTERN=TYPE, are rules with regular expressions, of which the first that is found in a name counts;
    letters of a pattern are made small, as llama-quantize does. Raises FormatError, ResourceError, ValueError.
    """
    file = printable(str(path))
    base = Recipe.named(mix)
    try:
        lines = read_regular(path, MAX_BYTES).decode().split()
    except UnfitFile as error:
        raise FormatError(f"{file}: {error.strerror}; give a file of lines PATTERN=TYPE") from None
    except UnicodeDecodeError:
        raise FormatError(f"{file}: not UTF-8; give a file of lines PATTERN=TYPE") from None
    except OSError as error:
        raise ResourceError(f"{file}: {error.strerror or error}; give a file of lines PATTERN=TYPE") from None
    try:
        rules = []
        for line in lines:
            pattern, equals, type = line.partition("=")
            if not (pattern and equals):
                raise ValueError(f"{line!r:.80} is not PATTERN=TYPE")
            rules.append(Rule(f"/{pattern.lower()}/", type.upper()))
        return Recipe(path.stem, base.default_type, tuple(rules))
    except ValueError as error:
        raise FormatError(f"{file}: {error}") from None


def compress(types: Mapping[str, str], tensors: Sequence[QuantizableTensor], name: str) -> Recipe:
    """The simplest recipe that gives these types: the commonest for all, then kinds with another one, then layers.

    Raises ModelRefused where names are so odd that no recipe tells the tensors apart.
    """
    in_layers = [matrix for matrix in tensors if matrix.layer is not None] or tensors
    default_type = Counter(types[matrix.name] for matrix in in_layers).most_common(1)[0][0]
    of_kind: defaultdict[str, list[tuple[int | None, str]]] = defaultdict(list)
    for matrix in tensors:
        of_kind[matrix.context.kind].append((matrix.layer, types[matrix.name]))
    alike: defaultdict[tuple[tuple[int | None, str], ...], list[str]] = defaultdict(list)
    for kind, layers in of_kind.items():
        alike[tuple(layers)].append(kind)
    try:
        rules = [rule for layers, kinds in alike.items() for rule in _rules(", ".join(kinds), layers, default_type)]
        recipe = Recipe(name, default_type, tuple(rules), pure=True)
    except ValueError as error:
        raise ModelRefused(f"the tensors have names that no recipe can hold: {error}") from None
    if odd := [matrix.name for matrix in tensors if recipe.type_of(matrix) != types[matrix.name]]:
        raise ModelRefused(f"tensor {quoted(odd[0])}: no recipe tells it from others of its kind; rename it")
    return recipe


def _rules(match: str, layers: Sequence[tuple[int | None, str]], default_type: str) -> Iterator[Rule]:
    """Rules for the layers of a kind of tensors: those with a type of their own first, then what the others have."""
    counts = Counter(type for _, type in layers).most_common()
    common = default_type if default_type in dict(counts) else counts[0][0]
    for type, _ in counts:
        if type != common:
            yield Rule(match, type, ranges([i for i, each in layers if each == type and i is not None]))
    if common != default_type:
        yield Rule(match, common)


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers as a recipe has them: `0-3, 8, 28-31`."""
    parts: list[list[int]] = []
    for n in sorted(numbers):
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _pattern(name: str) -> str:
    r"""A regular expression for a name alone. Of a hostile file it may hold anything: a line break is `\x0a`, too."""
    return "".join(re.escape(c) if c.isprintable() or ord(c) > 255 else f"\\x{ord(c):02x}" for c in name)


def _by_kind(types: Mapping[str, str], tensors: Sequence[QuantizableTensor]) -> dict[tuple[str, str], list[int | None]]:
    layers: defaultdict[tuple[str, str], list[int | None]] = defaultdict(list)
    for matrix in tensors:
        layers[kind_of(matrix.name), types[matrix.name]].append(matrix.layer)
    return dict(layers)


def _types(gguf: GGUF) -> dict[str, str]:
    types = {matrix.name: gguf.tensors[matrix.name].type for matrix in matrices(gguf, imatrix=False)}
    if not types:
        raise ModelRefused(f"{gguf.path}: holds no matrices; give a model")
    return types


def _had_imatrix(gguf: GGUF) -> bool:
    return any(key.startswith(IMATRIX) for key in gguf.metadata)
