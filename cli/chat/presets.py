"""The vendor's recommended sampling parameters as named presets: found, described, applied."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subbyte.cli.chat.context import ReplContext
    from subbyte.runtime.chat.presets import Preset


def find_preset(presets: "Mapping[str, Preset]", name: str) -> "Preset":
    """The preset of that name; ValueError lists those there are."""
    if name not in presets:
        offered = f"it offers {', '.join(presets)}" if presets else "none are known for it"
        raise ValueError(f"this model has no preset {name}: {offered}")
    return presets[name]


def describe(preset: "Preset") -> str:
    """Its figures: `temperature 0.6, top_p 0.95, thinking on`."""
    parts = [f"{name} {value:g}" for name, value in preset.sampling.items()]
    if preset.thinking is not None:
        parts.append(f"thinking {'on' if preset.thinking else 'off'}")
    return ", ".join(parts)


def list_presets(context: "ReplContext") -> None:
    """Prints the presets with their figures and sources."""
    if not context.presets:
        context.say("no presets are known for this model")
    for preset in context.presets.values():
        context.line(f"{preset.name}: {describe(preset)}")
        context.line(f"  ({preset.source})")


def apply_preset(context: "ReplContext", name: str) -> None:
    """Samples by that preset from now on; of the settings made before only the seed stays."""
    from subbyte.runtime.generation.sampling import Sampling

    preset = find_preset(context.presets, name)
    if preset.thinking is not None:
        context.chat.thinking = preset.thinking
    values: dict[str, Any] = {**preset.sampling, "seed": context.chat.sampling.seed}
    context.chat.sampling = Sampling(**values)
    if context.models is not None:
        context.models.start = context.chat.sampling  # another model has presets of its own
    context.say(f"{preset.name}: {describe(preset)}")
