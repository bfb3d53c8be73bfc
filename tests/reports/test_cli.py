"""Test the command `report` on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analyzer.measurements import STORE_FILE
from analyzer.measurements.csv_file import read_measurements_csv
from analyzer.measurements.store import Store
from planner.verification.file import to_json
from reports import write_report
from reports.cli import main
from tests.builders.measurements import SERVER, failed, measured
from tests.builders.placements import document, gpu, model
from tests.builders.verifications import verification, verified_content, verified_model

TRIALS = [measured(), measured(concurrency=2), failed(), measured(model="../<b>")]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Make an output folder of `analyze` with a store."""
    folder = tmp_path / "results"
    folder.mkdir()
    with Store.open(folder / STORE_FILE) as store:
        for trial in TRIALS:
            store.append(trial)
        store.append_server_only(SERVER)
    return folder


def write_plan(path: Path, *models: str) -> Path:
    """Write a placement file with one GPU."""
    path.write_text(json.dumps(document(gpu(0, *(model(name, 1000) for name in models)))))
    return path


def report(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_report_writes_page_tables_and_pictures(results: Path, tmp_path: Path) -> None:
    """The printed paths are the files written: the page first, then tables and pictures, all inside the folder."""
    out = tmp_path / "new" / "folder"
    result = report(results, write_plan(tmp_path / "placement.json", "chest"), "-o", out)
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert sorted(paths) == sorted(out.iterdir())
    assert [path.name for path in paths] == [
        "report.html",
        "metrics-model.csv",
        "metrics-server-only.csv",
        "placement.csv",
        "model-chest.png",
        "model-b.png",
        "placement.png",
    ]
    assert len(read_measurements_csv(out / "metrics-model.csv")) == len(TRIALS)


def test_placements_of_one_name_do_not_overwrite_each_other(results: Path, tmp_path: Path) -> None:
    """Two files named placement.json in two folders each give a table and a picture."""
    plans = []
    for name in "ab":
        (tmp_path / name).mkdir()
        plans.append(write_plan(tmp_path / name / "placement.json", f"only-{name}"))
    assert report(results, *plans, "-o", tmp_path / "out").exit_code == 0
    assert "only-a" in (tmp_path / "out" / "placement.csv").read_text()
    assert "only-b" in (tmp_path / "out" / "placement-2.csv").read_text()
    assert {path.name for path in (tmp_path / "out").glob("placement*.png")} == {"placement.png", "placement-2.png"}


def test_csv_that_was_read_is_not_written_over(results: Path, tmp_path: Path) -> None:
    """A report written into the folder of its source leaves the source unchanged."""
    assert report(results, "-o", tmp_path).exit_code == 0
    source = tmp_path / "metrics-model.csv"
    before = source.read_bytes().replace(b"0.01", b"0.010")
    source.write_bytes(before)
    result = report(source, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert source.read_bytes() == before
    assert str(tmp_path / "report.html") in result.stdout


def test_report_of_a_report_is_the_same(results: Path, tmp_path: Path) -> None:
    """The same input gives the same files, byte for byte."""
    for name in "ab":
        assert report(results, "-o", tmp_path / name).exit_code == 0
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in "ab")
    assert first == second


@pytest.mark.parametrize("missing", ["profiles", "placement", "not-json"])
def test_bad_input_is_one_line_and_starts_nothing(results: Path, tmp_path: Path, missing: str) -> None:
    """A file that is missing or no placement is named in one line with exit code 2, and nothing is written."""
    profiles = tmp_path / "nowhere" if missing == "profiles" else results
    plan = tmp_path / "plan.json"
    if missing == "not-json":
        plan.write_text("{")
    result = report(profiles, *([] if missing == "profiles" else [plan]), "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_is_one_line(results: Path, tmp_path: Path) -> None:
    """An output folder below a file is refused in one line that says what to do, with exit code 1."""
    (tmp_path / "file").write_text("")
    result = report(results, "-o", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "give another folder as --output" in result.stderr


def test_verification_is_known_by_its_content(results: Path, tmp_path: Path) -> None:
    """A verification of any name gives its table and pictures beside the placement's; a placement stays one."""
    plan, found = tmp_path / "verification.json", tmp_path / "plan.json"  # names that say the opposite
    write_plan(plan, "chest")
    found.write_text(to_json(verification(verified_content(0, verified_model("chest")))))
    result = report(results, plan, found, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 models, 1 placement and 1 verification" in result.stderr
    written = {Path(line).name for line in result.stdout.splitlines()}
    assert {"plan.csv", "plan.png", "plan-2.png", "verification.csv", "verification.png"} <= written
    assert "gpu_verdict" in (tmp_path / "out" / "plan.csv").read_text()
    assert "gpu_verdict" not in (tmp_path / "out" / "verification.csv").read_text()
    assert "Does the plan hold? plan.json" in (tmp_path / "out" / "report.html").read_text()


def test_verification_and_its_file_give_the_same_page(results: Path, tmp_path: Path) -> None:
    """`write_report` takes a verification as a record too, alone or with others."""
    found = verification(verified_content(0, verified_model("chest")))
    file = tmp_path / "verification"  # the name that a record without a file has
    file.write_text(to_json(found))
    pages = [
        write_report(results, given, tmp_path / name)[0].read_bytes()
        for name, given in (("a", found), ("b", [found]), ("c", file))
    ]
    assert pages[0] == pages[1] == pages[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "is neither a placement nor a verification"),
        ("[1]", "is neither a placement nor a verification"),
        ('{"verdict": "holds", "contents": []}', "is no verification: the document: 'schema_version'"),
        ('{"gpus": [], "objective": {}}', "is no placement: "),
    ],
)
def test_file_that_is_neither_is_one_line(results: Path, tmp_path: Path, text: str, says: str) -> None:
    """A JSON file that is neither is named in one line; a faulty one is named with what it is meant to be."""
    (tmp_path / "x.json").write_text(text)
    result = report(results, tmp_path / "x.json", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"x.json {says}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
