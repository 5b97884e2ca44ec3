"""What a GPU makes of the five systems: one distillation and one fine-tuning of each, at the size of its recipe.

Run as `make gpu`. Weights are drawn by lot and utterances are noise: neither time nor memory depends on them, and
nothing is downloaded. Settings are those of the recipes, but for the epochs, the schedule and the precision, which is
bf16-mixed. Each fit is done twice through the same loop, streams and shards as any other; the speed is that of the
second, without its first epoch. A system whose recipe distils nothing learns the logits and the pooled vectors of a
teacher that is drawn by lot too. Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import subprocess
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

from benchmarks.marked import put_between
from features.placed import record
from models import fit
from models.ahead import ahead
from models.inputs import input_folders
from models.orders import ROOM, fit_request, terms_of
from models.plugin import wave_roles
from models.stream import RATE_HZ, Stream, read_split
from warehouse import Request, Warehouse, catalog
from warehouse.errors import EmolakeError
from warehouse.schema import SPLIT
from warehouse.shards import write_shard
from warehouse.tables import write_rows

HOUSE = Path(__file__).parents[1]
RECIPES, PAGE = HOUSE / "flows" / "recipes", HOUSE / "BENCHMARKS.md"
SCRIPT = "make gpu"
NO_GPU = "no GPU that torch can use: nothing was measured, BENCHMARKS.md stays as it is"

CLASSES = ("angry", "happy", "neutral", "sad")
WORDS_HZ, PHONES_HZ, LLD_HZ, N_LLD = 2.7, 11.0, 100, 130
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
N_WORDS = 5000
TAUGHT = {"logits": 1.0, "features": 1.0}
LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model of a shipped recipe; `objective` where it is another than the recipe's."""

    system: str
    what: str
    recipe: str
    model: str
    objective: Mapping[str, float] | None = None


CASES = (
    Case("CMD", "distillation", "cmd", "distilled_cmd"),
    Case("CMD", "fine-tuning", "cmd", "cmd"),
    Case("MCED", "distillation", "mced", "taught"),
    Case("MCED", "fine-tuning", "mced", "iemocap_scratch"),
    Case("cross-modal attention", "distillation", "krishna", "trained", TAUGHT),
    Case("cross-modal attention", "fine-tuning", "krishna", "trained"),
    Case("MMER", "distillation", "mmer", "mmer", TAUGHT),
    Case("MMER", "fine-tuning", "mmer", "mmer"),
    Case("multilevel, early fusion", "distillation", "multilevel", "early_fp", TAUGHT),
    Case("multilevel, early fusion", "fine-tuning", "multilevel", "early_fp"),
)


@dataclass(frozen=True)
class Size:
    """How large everything is; the default is the size of the papers.

    Args:
        lasts_s: shortest and longest utterance; they are log-normal between, median 3.5 s.
        state: dimensions of stored states; `n_layers` of those that have several.
        configurations: checkpoint of the recipes -> kind of network, and its settings where they are not its default.
        fields: student -> fields that are not the recipe's.
    """

    n_utterances: int = 256
    epochs: int = 8
    lasts_s: tuple[float, float] = (0.6, 20.0)
    state: int = 768
    n_layers: int = 12
    configurations: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=lambda: {
        "wav2vec2": ("Wav2Vec2", {}), "wav2vec2_large": ("Wav2Vec2", LARGE), "bert": ("Bert", {}),
    })  # fmt: skip
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What was measured of one case. `busy` is the share of time in which the device computed, None where nobody can
    tell; `difference` the largest between a weight of two runs, and `loss_difference` between two losses, relative."""

    case: Case
    n_weights: int
    audio_per_s: float
    reading: float
    peak_gib: float
    busy: float | None
    difference: float
    loss_difference: float

    def cells(self) -> list[str]:
        """As the table has them."""
        same = self.difference == self.loss_difference == 0
        return [
            self.case.system, self.case.what, f"{self.n_weights / 1e6:.1f} M", f"{self.audio_per_s:.0f}",
            f"{self.reading:.1f}", f"{self.peak_gib:.1f}", "not told" if self.busy is None else f"{self.busy:.0%}",
            "none" if same else f"{self.difference:.1e}, {self.loss_difference:.1e}",
        ]  # fmt: skip


class Bench:
    """A lake of noise with what the cases want, made when it is first wanted."""

    def __init__(self, root: Path, size: Size) -> None:
        self.root, self.size = root, size
        self.warehouse = Warehouse(root / "lake", create=True)
        rng = np.random.default_rng(0)
        lasts_s = np.clip(rng.lognormal(math.log(3.5), 0.7, size=size.n_utterances), *size.lasts_s)
        self.lasts_s = {f"u{number:05d}": float(lasts_s[number]) for number in range(size.n_utterances)}
        rows = [{"utterance_id": u, "part": "train", "label": CLASSES[n % 4]} for n, u in enumerate(self.lasts_s)]
        request = Request("split", "protocols.noise", 1)
        written = self.warehouse.materialize(request, lambda at: _none(write_rows(at / "split.parquet", rows, SPLIT)))
        self.split = written.digest
        self._shards: dict[str, list[str]] = {}
        self._placed: dict[str, tuple[str, Path]] = {}

    def shards(self, role: str) -> list[str]:
        """The digests of the shards of a role."""
        if role not in self._shards:
            lasts = enumerate(self.lasts_s.items())
            members = [(u, "noise", noise(role, lasts_s, number, self.size)) for number, (u, lasts_s) in lasts]
            request = Request("shards", "flows.pack", 1, {"role": role})
            artifact = self.warehouse.materialize(request, partial(write_shard, field=role, members=members))
            self._shards[role] = [artifact.digest]
        return self._shards[role]

    def placed(self, checkpoint: str) -> tuple[str, Path]:
        """The digest of the record of a checkpoint, and its folder."""
        if checkpoint not in self._placed:
            folder = self.root / checkpoint
            write_checkpoint(folder, *self.size.configurations[checkpoint])
            self._placed[checkpoint] = record(self.warehouse, folder).digest, folder
        return self._placed[checkpoint]

    def measure(self, case: Case, device: str) -> Row:
        """Fits one case twice."""
        entry = tomllib.loads((RECIPES / f"{case.recipe}.toml").read_text(encoding="utf-8"))["models"][case.model]
        name, objective = entry["student"], case.objective or entry["objective"]
        known = {each.name for each in dataclasses.fields(catalog.plugin_class(ROOM, name))}
        fields = {key: value for key, value in entry.items() if key in known} | dict(self.size.fields.get(name, {}))
        student = catalog.build(ROOM, name, fields, "the benchmark")
        roles = dict.fromkeys([*student.inputs, *(role for term in objective for role in terms_of(student)[term])])
        placed = {slot: self.placed(checkpoint) for slot, checkpoint in entry.get("encoders", {}).items()}
        settings = entry["fit"] | {
            "epochs": self.size.epochs, "schedule": "constant", "warmup_fraction": 0.0, "patience": 0,
            "precision": "bf16-mixed" if device == "cuda" else "32-true",
        }  # fmt: skip
        request = fit_request(
            name, fields, fit=settings, objective=objective, classes=CLASSES, seed=0, split=self.split,
            shards={role: self.shards(role) for role in roles},
            encoders={slot: digest for slot, (digest, _) in placed.items()},
        )  # fmt: skip
        runs = [self._run(request, dict(placed.values()), device, f"{case.model}-{n}") for n in (1, 2)]
        one, two = (load_file(folder / "model.safetensors") for folder, *_ in runs)
        losses = [_losses(folder / "history.csv") for folder, *_ in runs]
        _, cost, audio_per_s, busy = runs[-1]
        return Row(
            case, cost["parameters"], audio_per_s, self._reading(request, student, settings, device) / audio_per_s,
            cost.get("device_peak_bytes", cost["peak_bytes"]) / 2**30, busy,
            max(float((one[name] - two[name]).abs().max()) for name in one if one[name].is_floating_point()),
            max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True)),
        )  # fmt: skip

    def _run(
        self, request: Request, weights: Mapping[str, Path], device: str, name: str
    ) -> tuple[Path, dict[str, Any], float, float | None]:
        """Fits once: where, at what cost, seconds of audio per second, and how busy the device was."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        ends_s: list[float] = []

        def note(done: int, total: int, text: str) -> None:
            ends_s.append(time.monotonic())

        with Busy(device) as busy:
            cost = fit.write(self.warehouse, request, folder, note, device, weights=weights, save_every_s=math.inf)
        lasted_s = ends_s[-1] - ends_s[0]
        audio_s = sum(self.lasts_s.values()) * (len(ends_s) - 1)
        return folder, cost, audio_s / lasted_s, busy.between(ends_s[0], ends_s[-1])

    def _reading(self, request: Request, student: Any, settings: Mapping[str, Any], device: str) -> float:
        """Seconds of audio per second from the same shards to batches as that device gets them, with nobody to use
        them."""
        folders = input_folders(self.warehouse, request)
        first = f"shards:{student.inputs[0]}"
        shards = {role.removeprefix("shards:"): folders[role] for role in sorted(folders, key=lambda r: (r != first, r))
                  if role.startswith("shards:")}  # fmt: skip
        labels = read_split(folders["split"][0] / "split.parquet")["train"]
        stream = Stream(shards, "train", labels, CLASSES, settings["batch_frames"], wave_roles(student))
        spent_s = []
        for epoch in (1, 2):  # the first reads from the disk
            began_s = time.monotonic()
            for _ in ahead(stream.loads(torch.device(device), stream.shuffled(0, epoch))):
                pass
            spent_s.append(time.monotonic() - began_s)
        return sum(self.lasts_s.values()) / spent_s[-1]


def noise(role: str, lasts_s: float, number: int, size: Size) -> np.ndarray | str:
    """What a role holds of an utterance of that length."""
    rng = np.random.default_rng([number, sum(role.encode())])
    n_samples, n_words = round(lasts_s * RATE_HZ), max(1, round(lasts_s * WORDS_HZ))
    n_frames, n_tokens = max(1, (n_samples - 400) // 320 + 1), n_words + 2
    if role == "text":
        return " ".join(word(int(rank)) for rank in rng.integers(N_WORDS, size=n_words))
    if role in ("wave", "augmented_wave"):
        return rng.integers(-3000, 3000, size=n_samples, dtype=np.int16)
    if role == "speech":
        return rng.standard_normal((round(lasts_s * LLD_HZ), N_LLD), dtype=np.float32)
    if role == "teacher_logits":
        return rng.standard_normal(len(CLASSES), dtype=np.float32)
    if role == "teacher_pooled":
        return rng.standard_normal(size.state, dtype=np.float32)
    shape = {
        "teacher_hidden": (4, n_tokens), "teacher_audio": (1, n_frames), "teacher_text": (1, n_tokens),
        "text_states": (1, n_tokens), "augmented_states": (1, n_tokens), "frames": (size.n_layers, n_frames),
        "phones": (size.n_layers, max(1, round(lasts_s * PHONES_HZ))), "tokens": (size.n_layers, n_tokens),
    }[role]  # fmt: skip
    return rng.standard_normal((*shape, size.state), dtype=np.float32).astype(np.float16)


def word(rank: int) -> str:
    """A word of letters only."""
    return "".join("bdfgklmnprstvz"[rank // 14**n % 14] + "aeiou"[n] for n in range(4))


def write_checkpoint(folder: Path, kind: str, settings: Mapping[str, Any]) -> None:
    """Writes a network with weights drawn by lot, and what reads its input: for sound a preprocessor, for text a
    tokenizer to which every word is one token."""
    transformers.utils.logging.disable_progress_bar()
    config = getattr(transformers, f"{kind}Config")(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    if kind == "Wav2Vec2":
        transformers.Wav2Vec2FeatureExtractor(return_attention_mask=bool(settings)).save_pretrained(folder)
        return
    words = [*SPECIAL, *(word(rank) for rank in range(N_WORDS))]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({each: n for n, each in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip


class Busy:
    """Asks `nvidia-smi` ten times a second for the share of time in which the GPU computes."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._seen: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Busy:
        if self._device == "cuda":
            gpu = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
            asked = ["-i", gpu, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
            try:
                self._process = subprocess.Popen(["nvidia-smi", *asked], stdout=subprocess.PIPE, text=True)
            except OSError:
                return self
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            if line.strip().isdigit():
                self._seen.append((time.monotonic(), int(line) / 100))

    def between(self, began_s: float, ended_s: float) -> float | None:
        """The mean of what was said in that time; None where nothing was."""
        seen = [share for at_s, share in self._seen if began_s <= at_s <= ended_s]
        return sum(seen) / len(seen) if seen else None


def table(rows: Sequence[Row | tuple[Case, str]], device: str) -> str:
    """The rows for BENCHMARKS.md; of a case that failed, why."""
    heads = (
        "system", "what", "weights", "s of audio per s", "reading, × the fit", "peak, GiB", "device busy",
        "two runs: a weight, a loss",
    )  # fmt: skip
    lines = [
        f"{device}, torch {torch.__version__}, bf16-mixed, deterministic algorithms. `reading`: how much faster than",
        "the fit shards become batches, one ahead, with nobody to use them. `two runs`: the largest difference of a",
        "weight, and of an epoch's loss, relative, between two fits of one order.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for row in rows:
        cells = row.cells() if isinstance(row, Row) else [row[0].system, row[0].what, f"failed: {row[1]}", *[""] * 5]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(page: Path = PAGE) -> int:
    """Measures all cases and writes them into the page; returns the exit code, which is 0 without a GPU too."""
    if not torch.cuda.is_available():
        print(NO_GPU)
        return 0
    rows: list[Row | tuple[Case, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Size())
        for case in CASES:
            print(f"{case.system}, {case.what} …", flush=True)
            try:
                rows.append(bench.measure(case, "cuda"))
            except (RuntimeError, EmolakeError) as error:  # no memory, no deterministic kernel; a loss that diverges
                rows.append((case, str(error).splitlines()[0][:200].replace("|", "/")))
            torch.cuda.empty_cache()
    found = table(rows, torch.cuda.get_device_name(0))
    print(found)
    put_between(page, SCRIPT, found)
    return 1 if any(not isinstance(row, Row) for row in rows) else 0


def _losses(path: Path) -> list[float]:
    with open(path, newline="") as stream:
        return [float(row["train_loss"]) for row in csv.DictReader(stream)]


def _none(_: object) -> None:
    """For what writes and also returns."""


if __name__ == "__main__":
    raise SystemExit(main())
