"""How the inputs of a checkpoint were made, so that the same can be made of sound that is in no corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.canary import canary_work, settled, verdict_of
from features.inventory import forked, row_identity, row_key
from features.placed import placed_folder
from features.plugin import FeatureSpec
from models.checkpoint import read_card
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.catalog import build, plugin_class
from warehouse.errors import ArtifactNotFound, InvalidField, MissingFolder, VersionDiffers
from warehouse.hashing import short_digest

_ROOMS = {"extractors": "features.extractors", "aligners": "features.aligners"}
_FORK = "canary"


@dataclass(frozen=True)
class Plugin:
    """An extractor or aligner as it made rows; `folder` is that of its checkpoint, where it reads one."""

    step: str
    plugin: Any
    folder: Path | None = None

    @property
    def outputs(self) -> Mapping[str, FeatureSpec]:
        """Of an extractor."""
        found: Mapping[str, FeatureSpec] = self.plugin.outputs(*([self.folder] if self.folder else []))
        return found


@dataclass(frozen=True)
class Origin:
    """What the shards of one role hold: an output of an extractor, its means over a tier of an aligner, the times of
    that tier, or where neither is given the normalised text."""

    extractor: Plugin | None = None
    output: str = ""
    aligner: Plugin | None = None
    tier: str = ""

    @property
    def needs(self) -> set[str]:
        """'audio', 'text' or both: what a clip must have."""
        plugins = [one.plugin for one in (self.extractor, self.aligner) if one]
        found = {need for plugin in plugins for need in _NEEDS[plugin.needs]}
        return found or {"text"}


_NEEDS: Mapping[str, tuple[str, ...]] = {"audio": ("audio",), "text": ("text",), "pair": ("audio", "text")}


@dataclass(frozen=True)
class Host:
    """Where checkpoints lie here, and what computes: the folder of weights, if there is one, the folder that others are
    relative to, and the device."""

    weights: Path | None = None
    beside: Path = Path()
    device: str = "cpu"


def origins_of(warehouse: Warehouse, checkpoint: Artifact, host: Host) -> dict[str, Origin]:
    """The origin of each role that a checkpoint's student reads to predict.

    What its shards cite says it all, so the recipe is not asked. Where they are of a corpus told again, the clip's own
    sound and text stand for it.

    Raises:
        VersionDiffers, UnknownName, UnknownField: a plug-in is not here as it was then.
        InvalidField: a plug-in takes what new sound does not bring, or names files of this machine.
        MissingFolder: nobody said where a checkpoint lies here.
    """
    shards = warehouse.by_digest("shards")
    found = {}
    for role in read_card(checkpoint.whole()).student.inputs:
        cited = checkpoint.request.inputs[f"shards:{role}"]
        shard = next((shards[digest] for digest in cited if digest in shards), None)
        if shard is None:  # a purge took all of them
            raise ArtifactNotFound(cited[0])
        source = shard.request.params["source"]
        extractor = plugin_of(warehouse, source["plugin"], host) if "plugin" in source else None
        aligner = plugin_of(warehouse, source["aligner"], host) if "aligner" in source else None
        found[role] = Origin(extractor, source.get("output", ""), aligner, source.get("tier", ""))
    return found


def plugin_of(warehouse: Warehouse, identity: Mapping[str, Any], host: Host) -> Plugin:
    """The plug-in that an identity in a request is that of.

    Raises:
        As `origins_of`.
    """
    step, version, fields = identity["step"], identity["version"], identity["fields"]
    room, _, name = step.partition(".")
    cls = plugin_class(_ROOMS[room], name)
    if getattr(cls, "is_shipped", False) or hasattr(cls, "identity_fields"):
        why = "takes the alignment that a corpus ships, and these clips are of none"
        if hasattr(cls, "identity_fields"):
            why = "is told apart by the bytes of files of the machine it ran on, and which they are is not in the lake"
        raise InvalidField(f"'{step}'", "fields", f"cannot be had again: it {why}; take a model without it")
    plugin = build(_ROOMS[room], name, fields, f"'{step}'")
    if plugin.version != version:
        raise VersionDiffers(step, version, plugin.version)
    plugin = forked(plugin, identity[_FORK]) if _FORK in identity else plugin
    if row_key(step, plugin) != short_digest(identity):
        raise VersionDiffers("features.audio", identity.get("audio", 0), row_identity(step, plugin).get("audio", 0))
    reads = getattr(plugin, "reads_checkpoint", False)
    return Plugin(step, plugin, folder_of(warehouse, plugin.weights, host) if reads else None)


def folder_of(warehouse: Warehouse, digest: str, host: Host) -> Path:
    """Where a checkpoint of this digest lies here: in the lake, or where a person placed it.

    Raises:
        MissingFolder: nobody said.
    """
    fitted = warehouse.by_digest("checkpoint").get(digest)
    if fitted:
        return fitted.whole()
    said = [ref["folder"] for ref in warehouse.refs("weights").values() if ref["digest"] == digest]
    places = [placed_folder(one, host.weights, host.beside) for one in said]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        todo = "set EMOLAKE_WEIGHTS to the folder below which it lies (README, 'Your own checkpoints')"
        raise MissingFolder(f"the checkpoint {digest[:12]}", next(iter(places), Path("(nowhere)")), todo)
    return folder


def moved(warehouse: Warehouse, made: Plugin, device: str) -> str:
    """A sentence where an extractor's numbers here are others than those that the model was trained with; '' where they
    are the same. Its canary says so, which is run now if it has not been in this environment."""
    plain = build(_ROOMS["extractors"], made.step.partition(".")[2], _fields(made), f"'{made.step}'")
    work = canary_work(warehouse, made.step, plain, device, made.folder)
    canary = warehouse.find(work.request)
    if canary is None:
        with warehouse.scratch("canary", is_announced=True):  # not where it is only read: that needs no right to write
            canary = warehouse.perform(work)
    if row_key(made.step, settled(plain, canary)) == row_key(made.step, made.plugin):
        return ""
    verdict = verdict_of(canary)
    how = verdict.sentence or "the model was trained on rows that are kept apart from those of this environment"
    return f"'{made.step}' gives other numbers here than those that the model was trained with: {how}"


def _fields(made: Plugin) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = row_identity(made.step, made.plugin)["fields"]
    return fields
