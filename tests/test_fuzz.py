"""Whatever bytes a parser is given, it answers, or raises one of our own mistakes: 40 hostile inputs of each here,
10,000 of each in `make test-all`.

Inputs are what the parser knows, broken: pieces cut out, doubled, swapped and joined with pieces of a dictionary of
trouble, such as numbers without end, other scripts, half characters, ways out of a folder and nested brackets.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.releases import (
    audformat,
    clip_tables,
    csd,
    emotionlines_release,
    forced_alignment,
    iemocap_files,
    meld_release,
    mosei_release,
    moses,
    opus_xml,
    xed_release,
)
from features.subtitles import spoken_text, subrip, substation, subtitle_lines, text_encoding, webvtt
from flows.protocol import PROTOCOLS, read_protocol
from flows.recipe import read_recipe, recipe_path
from models import job
from warehouse import Request, Warehouse
from warehouse.artifact import MANIFEST, read_artifact
from warehouse.errors import EmolakeError
from warehouse.refs import read_ref, ref_faults
from warehouse.schema import SHARD_INDEX
from warehouse.shards import INDEX, TAR, ShardReader, write_shard
from warehouse.tables import read_table

QUICK, LONG = 40, 10_000

TROUBLE = [
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b"-->", b"[" * 3000, b"{" * 50,
    b"9" * 5000, b"-1", b"1e999", b"nan", b"NaN", b"Infinity", b"../../etc/passwd", b"/etc/passwd", b"\\u0000",
    b"\\ud800", b'"', b"'", b"null", b"true", b"[]", b"{}", b"<!ENTITY x 'y'>", b"&x;", b"&#0;", b"<![CDATA[", b"]]>",
    "١٢:٠٠".encode(), "ﬁ\u202e\u2028".encode(), "数".encode("utf-16"), b"<x>", b"%s%n", b"=", b".", b"\x1a",
    b"!!python/object/apply:os.system [id]", b"00:00:01,000 --> 00:00:02,000", b"99:99:99,999",
    b"; --", b"$fold", b"__class__",
]  # fmt: skip

Parser = Callable[[bytes, Path], Any]


# -- how each is asked ----------------------------------------------------------------------------------------------


def subtitles(raw: bytes, folder: Path) -> None:
    text = text_encoding.decoded(raw, "en").text
    for parse in (subrip.parse_srt, substation.parse_ass, webvtt.parse_vtt):
        for cue in parse(text):
            spoken_text.spoken_text(cue.text)
            spoken_text.repaired(cue.text, "en")
    subrip.irregular(text)
    webvtt.stated_language(text)
    webvtt.n_voices(text)


def lines_of_subtitles(raw: bytes, folder: Path) -> None:
    for line in raw.split(b"\n"):
        subtitle_lines.judged_bytes(line)
        moses.origin_of(line, "en")


def sequence(raw: bytes, folder: Path) -> None:
    path = folder / "labels.csd"
    path.write_bytes(raw)
    found = csd.heading(path, path.name)
    list(csd.tracks(path, path.name, found.videos, text=True))
    mosei_release.column_order(found, path.name)


def opus(raw: bytes, folder: Path, name: str = "d.xml") -> None:
    path = folder / name
    path.write_bytes(raw)
    try:
        opus_xml.sentences(path)
    except EmolakeError:
        opus_xml.links(path, "en")


def table(raw: bytes, folder: Path, form: str) -> None:
    path = folder / f"clips{form}"
    path.write_bytes(raw)
    for number, cells in enumerate(clip_tables.read_cells(path, path.name), start=1):
        for column in cells:
            clip_tables.timedelta_s(clip_tables.named_text(cells, column, path.name, number))


def header(raw: bytes, folder: Path) -> None:
    (folder / "db.yaml").write_bytes(raw)
    (folder / "db.files.csv").write_bytes(b"file,emotion\na.wav,happy\n")
    opened = audformat.open_folder(folder, "db.yaml")
    list(audformat.rows(opened, ["files"], ["emotion"]))


def releases(raw: bytes, folder: Path) -> None:
    emotionlines_release.read_table(raw)
    meld_release.read_table("train_sent_emo.csv", raw)
    mosei_release.read_pieces(raw, "vid")
    list(iemocap_files.turns(raw))
    list(iemocap_files.transcripts(raw))
    for unit in ("annotated", "neutral"):
        try:
            xed_release.read_table(unit, raw)
        except UnicodeDecodeError:
            continue  # as it promises: whoever reads the file names it


def alignment(raw: bytes, folder: Path) -> None:
    for kind in ("wdseg", "phseg", "syseg"):
        try:
            found = forced_alignment.segments(kind, raw)
        except EmolakeError:
            continue
        forced_alignment.disorder(kind, found)
        forced_alignment.misfit(kind, found, 1.0)


def manifest(raw: bytes, folder: Path) -> None:
    own = folder / "raw" / KEY
    own.mkdir(parents=True, exist_ok=True)
    (own / MANIFEST).write_bytes(raw)
    artifact = read_artifact(own)
    assert all(artifact.path(name).resolve().is_relative_to(own.resolve()) for name in artifact.files)


def ref(raw: bytes, folder: Path) -> None:
    for group in ("corpora", "features", "weights", "reports", "aligners", "retries"):
        path = folder / "refs" / group / "x.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    list(ref_faults(folder, [], []))
    for path in (folder / "refs").rglob("*.json"):
        read_ref(path)


def shard(raw: bytes, folder: Path, name: str) -> None:
    for file, content in shard_files().items():
        (folder / file).write_bytes(raw if file == name else content)
    read_table(folder / INDEX, SHARD_INDEX)
    reader = ShardReader(folder)
    for utterance_id in reader:
        if isinstance(reader.read(utterance_id), np.ndarray):
            reader.shape(utterance_id)


def recipe(raw: bytes, folder: Path) -> None:
    (folder / "mine.toml").write_bytes(raw)
    read_recipe(folder / "mine.toml")


def protocol(raw: bytes, folder: Path) -> None:
    (folder / "mine.toml").write_bytes(raw)
    read_protocol("mine.toml", folder)


def order(raw: bytes, folder: Path) -> None:
    """What a host that computes is given: the file is read, and nothing it asks for is there."""
    (folder / "request.json").write_bytes(raw)
    for request in job._read_requests(folder / "request.json"):
        assert Warehouse(folder / "lake", create=True).find(request) is None


# -- what is broken --------------------------------------------------------------------------------------------------

REQUEST = Request("raw", "features.raw", 1, {"corpus": "x"}, {"raw": ("d1",)})
KEY = REQUEST.key


@cache
def shard_files() -> dict[str, bytes]:
    members: list[tuple[str, str, np.ndarray | str]] = [("u1", "i1", np.ones((2, 3), "f4")), ("u2", "i2", "text")]
    return _written(lambda folder: write_shard(folder, "x", members))


def _written(write: Callable[[Path], None]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        return {
            path.relative_to(name).as_posix(): path.read_bytes()
            for path in sorted(Path(name).rglob("*.*"))
            if path.is_file()
        }


@cache
def sequence_file() -> bytes:
    import h5py

    def write(folder: Path) -> None:
        with h5py.File(folder / "a.csd", "w") as stream:
            group = stream.create_group("labels/data/vid")
            group["features"], group["intervals"] = np.ones((2, 7)), np.ones((2, 2))
            stream["labels/metadata/root name"] = np.array([b'"labels"'])

    return _written(write)["a.csd"]


@cache
def manifest_file() -> bytes:
    def write(folder: Path) -> None:
        lake = Warehouse(folder / "lake", create=True)
        lake.materialize(REQUEST, lambda own: (own / "a.txt").write_text("a") and None)

    return next(content for name, content in _written(write).items() if name.endswith(MANIFEST))


@cache
def parquet_file() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "start": [0.5, None], "n": [1, 2]}), stream)
    return stream.getvalue()


SRT = b"1\n00:00:01,000 --> 00:00:02,500\n<i>Well,</i>\nno.\n\n2\n00:00:03,000 --> 00:00:04,000\n- Oh. [sighs]\n"
VTT = b"WEBVTT\nLanguage: en\n\nid\n00:01.000 --> 00:02.000 line:0\n<v Ann>Well</v>\n\nNOTE x\n"
ASS = (
    b"[Script Info]\n[Events]\nFormat: Layer, Start, End, Style, Name, Text\n"
    b"Dialogue: 0,0:00:01.00,0:00:02.00,Default,Ann,{\\i1}Well\\N no\n"
)
XML = (
    b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE document [<!ELEMENT s ANY>]><document id="1">'
    b'<s id="1"><time id="T1S" value="00:00:01,000" /><w id="1.1">Well</w> , no &amp; &#65;</s></document>'
)
XCES = (
    b'<cesAlign><linkGrp fromDoc="en/1968/1/2.xml.gz" toDoc="zh/1968/1/3.xml.gz"><link xtargets="1 2;1" />'
    b"</linkGrp></cesAlign>"
)
IEMOCAP = (
    b"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t"
    b"[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n"
    b"Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
)
MELD = (
    b"Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    b'1,"Oh, no",Ann,sadness,negative,0,0,8,21,"00:16:16,059","00:16:21,731"\n'
)
ALIGNED = (
    b"\t SFrm\t EFrm\t   SegAScr Word\n\t    0\t   34\t   -223344 WELL(2)\n\t   35\t   36\t  -1 AO TH T i\n"
    b"Total score:  -1\n"
)
EMOTIONLINES = (
    b'[[{"speaker": "Ann", "utterance": "Oh", "emotion": "joy", "annotation": "4100000"}]]\nWell, no\t1, 5\n0\tSo\n'
    b"vid___0___0.5___1.5___So it is\n"
)
YAML = (
    b"name: x\nschemes: {emotion: {dtype: str, labels: [happy]}}\nsplits: {train: {type: train}}\n"
    b"tables: {files: {type: filewise, split_id: train, columns: {emotion: {scheme_id: emotion}}}}\n"
)
TABLE = b'path,text,label,start\na.wav,"Oh, ""no""",happy,0 days 00:00:01.5\nb.wav,,sad,1\n'
LINES = b'{"path": "a.wav", "label": "happy", "start": 0.5}\n{"path": "b.wav", "label": null, "start": 1}\n'
REF = json.dumps({
    "reader": "table", "root": "/x", "raw": ["d"], "utterances": ["d"], "labels": ["d"], "plugin_key": "k",
    "needs": "audio", "hops_s": {"frames": 0.01}, "input_ids": ["i"], "digest": "d", "folder": "f", "artifact": "a",
    "metrics": "m",
}).encode()  # fmt: skip
ORDER = json.dumps([Request("checkpoint", "students.linear", 1, {"seed": 1}, {"split": ("d",)}).as_json()]).encode()


MINE = (PROTOCOLS / "iemocap4-loso5.toml").read_bytes().replace(b"iemocap4-loso5", b"mine")


def recipes() -> list[bytes]:
    return [recipe_path(name).read_bytes() for name in ("baselines", "demo")]


PARSERS: dict[str, tuple[Parser, Callable[[], Sequence[bytes]]]] = {
    "subtitles": (subtitles, lambda: [SRT, VTT, ASS, SRT.decode().encode("utf-16")]),
    "lines of subtitles": (lines_of_subtitles, lambda: [SRT, b"en/1968/62/51.xml.gz\tzh/1968/62/47.xml.gz\t7 8\t6"]),
    "csd": (sequence, lambda: [sequence_file()]),
    "opus": (opus, lambda: [XML, XCES]),
    "opus, packed": (partial(opus, name="d.xml.gz"), lambda: [gzip.compress(xml, mtime=0) for xml in (XML, XCES)]),
    "csv": (partial(table, form=".csv"), lambda: [TABLE]),
    "tsv": (partial(table, form=".tsv"), lambda: [TABLE.replace(b",", b"\t")]),
    "jsonl": (partial(table, form=".jsonl"), lambda: [LINES]),
    "parquet": (partial(table, form=".parquet"), lambda: [parquet_file()]),
    "audformat": (header, lambda: [YAML]),
    "releases": (releases, lambda: [IEMOCAP, MELD, EMOTIONLINES]),
    "alignment": (alignment, lambda: [ALIGNED]),
    "manifest": (manifest, lambda: [manifest_file()]),
    "ref": (ref, lambda: [REF]),
    "tar": (partial(shard, name=TAR), lambda: [shard_files()[TAR]]),
    "index of a tar": (partial(shard, name=INDEX), lambda: [shard_files()[INDEX]]),
    "recipe": (recipe, recipes),
    "protocol": (protocol, lambda: [MINE]),
    "order": (order, lambda: [ORDER]),
}


class Hostile(bytes):
    """Bytes that are shown by their beginning: some are tens of thousands."""

    def __repr__(self) -> str:
        return f"{len(self)} bytes: {bytes(self[:400])!r}"


@st.composite
def broken(draw: st.DrawFn, seeds: Sequence[bytes]) -> Hostile:
    """A seed with up to four pieces replaced by trouble, by others of its own pieces, or by any bytes."""
    raw = draw(st.sampled_from(list(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at, n = draw(st.integers(0, len(raw))), draw(st.sampled_from([0, 0, 1, 2, 4, 16, 1 << 30]))
        again = raw[draw(st.integers(0, len(raw))) :][:40]
        piece = draw(st.sampled_from([*TROUBLE, again]) | st.binary(max_size=8))
        raw = raw[:at] + piece + raw[at + n :]
    return Hostile(raw)


def fuzz(name: str, folder: Path, n_inputs: int) -> None:
    parse, seeds = PARSERS[name]

    @settings(
        max_examples=n_inputs, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(broken(seeds()) | st.binary(max_size=64).map(Hostile))
    @example(b"")
    @example(Hostile(b"a = " + b"[" * 3000))
    @example(Hostile(b"a = " + b"9" * 5000))
    @example(Hostile(b"9" * 5000 + b" 34 -1 WELL"))
    @example(Hostile(b"[" * 100_000))
    def only_named_errors(raw: bytes) -> None:
        try:
            parse(raw, folder)
        except EmolakeError as error:
            assert re.search(r"\w", str(error))

    only_named_errors()


@pytest.mark.parametrize("name", PARSERS)
def test_only_named_errors_come_out(name: str, tmp_path: Path) -> None:
    for seed in PARSERS[name][1]():
        PARSERS[name][0](seed, tmp_path)
    fuzz(name, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_only_named_errors_come_out_of_many(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, LONG)
