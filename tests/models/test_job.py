"""The command line in a process of its own, as `infra.launch` starts it."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import job
from models.orders import explain_request, predict_request, teach_request
from tests.models.tiny_lake import FIELDS, TinyLake, fitted, order, tiny_lake
from warehouse import Request
from warehouse.errors import InvalidField, UnknownName

ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "error", "HF_HUB_OFFLINE": "1"}


def _command(lake: TinyLake, request: Request, folder: Path, *options: str) -> list[str]:
    path = folder / "request.json"
    path.write_text(json.dumps(request.as_json()))
    return [sys.executable, "-m", "models.job", str(lake.warehouse.root), str(path), *options]


def test_a_job_tells_its_progress_then_its_answer_and_its_bytes_do_not_depend_on_the_process(
    lake: TinyLake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Fits of a text encoder and of a student of speech in this process and in one of its own, whose hashes of strings
    differ. It says nothing else: warnings are errors there, and stderr stays empty."""
    other = tiny_lake(tmp_path / "lake")
    requests = [order(lake, student, seed=31) for student in ("text_encoder", "mced")]
    command = _command(other, requests[0], tmp_path)
    (tmp_path / "request.json").write_text(json.dumps([request.as_json() for request in requests]))
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | {"PYTHONHASHSEED": "7"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    progress, answers = [line for line in lines if "done" in line], [line for line in lines if "key" in line]
    assert [(line["done"], line["total"]) for line in progress] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert lines[0]["note"].startswith("dev loss")
    digests = [fitted(lake, request).digest for request in requests]
    told = [{"key": request.key, "digest": one} for request, one in zip(requests, digests, strict=True)]
    assert answers == told and lines[-1] == told[-1]
    assert job.main(command[3:]) == 0
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == told


def test_one_job_may_answer_several_requests(lake: TinyLake, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    requests = [order(lake, "linear", seed=seed) for seed in (41, 42)]
    path = tmp_path / "request.json"
    path.write_text(json.dumps([request.as_json() for request in requests]))
    assert job.main([str(lake.warehouse.root), str(path)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["key"] for line in lines if "key" in line] == [request.key for request in requests]
    shares = [line["done"] / line["total"] for line in lines if "done" in line]
    assert shares == sorted(shares) and shares[-1] == 1, "progress is over all of them"
    assert signal.getsignal(signal.SIGUSR2) == signal.getsignal(signal.SIGTERM), "pre-empted is as good as stopped"


def test_a_host_of_jobs_needs_two_rooms() -> None:
    """What a job imports later, `fit` and the like, import-linter holds to the same."""
    code = "import sys, models.job; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    imported = set(ast.literal_eval(printed.stdout))
    assert {"models", "warehouse"} <= imported
    assert imported & {"flows", "features", "prefect", "torch"} == set()


def test_a_request_that_cannot_be_answered_keeps_no_other_from_being(
    lake: TinyLake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad, good = Request("poem", "models.poems", 1), order(lake, "linear", seed=43)
    path = tmp_path / "request.json"
    path.write_text(json.dumps([bad.as_json(), good.as_json()]))
    code = job.main([str(lake.warehouse.root), str(path)])
    printed = capfd.readouterr()
    lines = [line for line in map(json.loads, printed.out.splitlines()) if "key" in line]
    assert [line["key"] for line in lines] == [bad.key, good.key]
    assert "no kind of job 'poem'" in lines[0]["error"] and lake.warehouse.find(good) is not None
    assert code == 1 and printed.err == lines[0]["error"] + "\n"


@pytest.mark.parametrize(("number", "code"), [
    (signal.SIGTERM, 130), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),  # `test_resume` does it too
])  # fmt: skip
def test_a_job_that_is_stopped_leaves_no_artifact(lake: TinyLake, tmp_path: Path, number: int, code: int) -> None:
    request = order(lake, "mced", seed=33, fit={"epochs": 100_000})
    command = _command(lake, request, tmp_path)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(number)
        process.stdout.read()
        sentence = process.stderr.read()
    assert (process.returncode, sentence) == (code, "")
    assert lake.warehouse.find(request) is None
    type(lake.warehouse)(lake.warehouse.root)  # opening it sweeps what a kill left
    assert list((lake.warehouse.root / ".scratch").iterdir()) == []


@pytest.mark.parametrize(("content", "sentence"), [
    ("{}", "request.json: holds no request (KeyError: 'inputs')"),
    ("no json", "request.json: holds no request (JSONDecodeError: "),
    ("[]", "request.json: holds no request (TypeError: "),
    (None, "request.json: cannot be read (No such file or directory)"),
])  # fmt: skip
def test_a_file_that_holds_no_request(
    lake: TinyLake, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, sentence: str
) -> None:
    path = tmp_path / "request.json"
    if content is not None:
        path.write_text(content)
    assert job.main([str(lake.warehouse.root), str(path)]) == 1
    assert sentence in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_exit_code_1(lake: TinyLake, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.job", str(lake.warehouse.root), str(tmp_path / "absent.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    sentence = f"{tmp_path / 'absent.json'}: cannot be read (No such file or directory)"
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (1, "", [sentence])


def test_a_mistake_in_the_request_too(lake: TinyLake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(replace(order(lake, "mced"), step="students.mcedd").as_json()))
    assert job.main([str(lake.warehouse.root), str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("no student 'mcedd'; did you mean 'mced'? (there are: ")


def test_a_folder_that_is_no_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.main([str(tmp_path), str(tmp_path / "request.json")]) == 1
    assert "is no lake" in capsys.readouterr().err


def test_a_job_may_also_teach_and_explain(lake: TinyLake, tmp_path: Path) -> None:
    checkpoint = fitted(lake, order(lake, "mult", fit={"epochs": 1})).digest
    given: dict[str, Any] = {"shards": lake.shards, "split": lake.split}
    requests = [
        teach_request("mult", FIELDS["mult"], checkpoint, "teacher_pooled", **given),
        explain_request("mult", FIELDS["mult"], checkpoint, **given),
    ]
    path = tmp_path / "request.json"
    path.write_text(json.dumps([request.as_json() for request in requests]))
    job.run(lake.warehouse.root, path)
    made = [lake.warehouse.find(request) for request in requests]
    assert [sorted(one.files) if one else [] for one in made] == [["index.parquet", "shard.tar"], ["explanations.json"]]


def test_a_request_for_another_room(lake: TinyLake, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(replace(order(lake, "mced"), kind="features").as_json()))
    with pytest.raises(UnknownName, match="no kind of job 'features'"):
        job.run(lake.warehouse.root, path)


def test_a_device_that_is_not_there(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_has", lambda device: False)
    path = tmp_path / "request.json"
    path.write_text(json.dumps(order(lake, "mced", seed=34).as_json()))
    with pytest.raises(InvalidField, match="the job: field 'device' is 'cuda', but this machine has none"):
        job.run(lake.warehouse.root, path, "cuda")


def test_predictions_are_a_job_too(lake: TinyLake, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = fitted(lake, order(lake, "linear")).digest
    request = predict_request("linear", {}, checkpoint, shards=lake.shards, split=lake.split, parts=["test"])
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.as_json()))
    job.run(lake.warehouse.root, path, "auto")
    artifact = lake.warehouse.find(request)
    assert artifact is not None and artifact.files.keys() == {"predictions.parquet"}
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["digest"] == artifact.digest


def test_a_job_may_hold_more_files_open_than_the_usual_limit() -> None:
    code = (
        "import resource\n"
        "from models.job import MOST_FILES, hold_many_files\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "hold_many_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, MOST_FILES), hard))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.stderr) == ("True\n", "")
