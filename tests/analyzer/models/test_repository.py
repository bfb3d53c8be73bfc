"""Test the reading of model repositories and configurations, and the configurations of variants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.errors import ModelError, UsageError
from analyzer.measurements.record import Variant
from analyzer.models.config_file import parse_config
from analyzer.models.repository import Input, completed, read_repository, select
from analyzer.models.variants import variant_config

CONFIG = """
name: "{name}"  # a comment
backend: "python"
max_batch_size: 8
input [ {{ name: "IMAGE" data_type: TYPE_FP32 dims: [ 3, -1 ] }},
        {{ name: "MASK" data_type: TYPE_STRING dims: [ 1 ] optional: true }} ]
output {{ name: "SCORE" data_type: TYPE_FP32 dims: 10 }}
instance_group [ {{ count: 2 kind: KIND_CPU }}, {{ kind: KIND_CPU }} ]
dynamic_batching {{ preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }}
parameters {{ key: "size" value {{ string_value: "7" }} }}
"""


def make_model(repository: Path, name: str, config: str | None = CONFIG) -> Path:
    """Write a model with one version and, unless None, a config.pbtxt."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text("weights = 1\n")
    if config is not None:
        (repository / name / "config.pbtxt").write_text(config.format(name=name))
    return repository / name


def test_read_repository_reads_the_configuration(tmp_path: Path) -> None:
    """Names, datatypes, dimensions and instances come from config.pbtxt: 2 + 1 instances (a missing count is 1)."""
    make_model(tmp_path, "chest")
    (model,) = read_repository(tmp_path)
    assert (model.name, model.max_batch_size, model.instances, model.backend) == ("chest", 8, 3, "python")
    assert model.inputs == (
        Input(name="IMAGE", datatype="FP32", dims=(3, -1)),
        Input(name="MASK", datatype="BYTES", dims=(1,), optional=True),
    )
    assert model.config is not None
    assert model.config["parameters"] == {"size": {"string_value": "7"}}
    assert model.config["dynamic_batching"]["max_queue_delay_microseconds"] == 100  # a number, not "100"
    assert not (model.error or model.decoupled or model.sequence or model.depends_on)


def test_read_repository_ignores_other_files_and_folders(tmp_path: Path) -> None:
    """A README, a hidden folder, Python's cache and a folder without version or configuration are no models."""
    make_model(tmp_path, "b")
    make_model(tmp_path, "a", config=None)
    make_model(tmp_path, ".hidden")
    make_model(tmp_path, "__pycache__")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("words")
    assert [model.name for model in read_repository(tmp_path)] == ["a", "b"]


def test_read_repository_leaves_a_model_without_configuration_to_triton(tmp_path: Path) -> None:
    """Without config.pbtxt the configuration is unknown until Triton has completed it."""
    make_model(tmp_path, "auto", config=None)
    (model,) = read_repository(tmp_path)
    assert (model.config, model.max_batch_size, model.error) == (None, None, "")
    filled = completed(model, {"name": "auto", "max_batch_size": 4, "backend": "onnxruntime"})
    assert (filled.max_batch_size, filled.backend, filled.instances) == (4, "onnxruntime", 1)


def test_read_repository_reads_kinds_of_models(tmp_path: Path) -> None:
    """Decoupled, sequence, ensemble and business-logic models are recognized, with the models that they need."""
    make_model(tmp_path, "stream", "model_transaction_policy {{ decoupled: true }}")
    make_model(tmp_path, "talk", "sequence_batching {{ max_sequence_idle_microseconds: 5000 }}")
    step = "ensemble_scheduling {{ step [ {{ model_name: 'stream' }}, {{ model_name: 'talk' }} ] }}"
    make_model(tmp_path, "pipe", f'platform: "ensemble" {step}')
    make_model(tmp_path, "bls", 'parameters {{ key: "depends_on" value {{ string_value: "talk, stream" }} }}')
    models = {model.name: model for model in read_repository(tmp_path)}
    assert models["stream"].decoupled
    assert models["talk"].sequence
    assert models["pipe"].depends_on == ("stream", "talk")
    assert models["pipe"].backend == "ensemble"
    assert models["bls"].depends_on == ("talk", "stream")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('name: "m"\nmax_batchsize: 4', "line 2: unknown key 'max_batchsize'; did you mean 'max_batch_size'?"),
        ('name: "m"\nmax_batch_size: "four"', "line 2: "),
        ("max_batch_size: 4 }", "line 1: "),
        ('name: "other"', "name 'other' differs from the folder 'm'"),
    ],
)
def test_read_repository_marks_a_bad_configuration(tmp_path: Path, config: str, said: str) -> None:
    """A malformed config.pbtxt marks only its own model, with a one-line error that names the place."""
    make_model(tmp_path, "good")
    folder = make_model(tmp_path, "m", config=None)
    (folder / "config.pbtxt").write_text(config)
    good, bad = read_repository(tmp_path)
    assert good.error == ""
    assert said in bad.error
    assert "\n" not in bad.error
    assert select([good, bad])[1].error == bad.error
    with pytest.raises(UsageError, match=r"m: config\.pbtxt"):
        select([good, bad], ["m"])


def test_parse_config_names_the_nearest_key_within_a_message() -> None:
    """The suggested key is one of the message that holds the wrong key."""
    with pytest.raises(ValueError, match="line 2: unknown key 'dim'; did you mean 'dims'"):
        parse_config("input {\n  dim: 4\n}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text(""), "is not a folder"),
        (lambda path: path.mkdir(), "holds no model"),
        (lambda path: make_model(path.parent, path.name), "is a model; give the folder above it"),
    ],
)
def test_read_repository_refuses_other_paths(tmp_path: Path, make, said: str) -> None:  # type: ignore[no-untyped-def]
    """A path that is no repository is refused with the reason."""
    make(tmp_path / "repository")
    with pytest.raises(UsageError, match=said):
        read_repository(tmp_path / "repository")


def test_select_keeps_the_order_given_and_each_once(tmp_path: Path) -> None:
    """Models are returned in the order of the names; without names all are returned."""
    for name in ("a", "b", "c"):
        make_model(tmp_path, name)
    models = read_repository(tmp_path)
    assert [model.name for model in select(models, ["c", "a", "c"])] == ["c", "a"]
    assert [model.name for model in select(models)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chest_xry", "did you mean 'chest_xray'"),
        ("../chest_xray", "did you mean 'chest_xray'"),
        ("/etc", "known are chest_xray"),
    ],
)
def test_select_refuses_unknown_names(tmp_path: Path, name: str, said: str) -> None:
    """A name that is not a model's folder, also a path, is refused with the nearest names."""
    make_model(tmp_path, "chest_xray")
    with pytest.raises(UsageError, match=said):
        select(read_repository(tmp_path), [name])


def hash_of(repository: Path, name: str) -> str:
    return select(read_repository(repository), [name])[0].content_hash


def test_content_hash_depends_on_every_file(tmp_path: Path) -> None:
    """The hash depends on the contents and names of the model's files, not on Python's cache or on other models."""
    model = make_model(tmp_path, "m")
    seen = [hash_of(tmp_path, "m")]
    (model / "1" / "__pycache__").mkdir()
    (model / "1" / "__pycache__" / "model.pyc").write_bytes(b"x")
    make_model(tmp_path, "other")
    assert hash_of(tmp_path, "m") == seen[0]
    (model / "1" / "model.py").write_text("weights = 2\n")
    seen.append(hash_of(tmp_path, "m"))
    (model / "1" / "model.py").rename(model / "1" / "model2.py")
    seen.append(hash_of(tmp_path, "m"))
    assert len(set(seen)) == 3
    assert all(len(value) == 64 for value in seen)


def test_content_hash_of_an_ensemble_depends_on_its_steps(tmp_path: Path) -> None:
    """A changed step changes the ensemble's hash."""
    part = make_model(tmp_path, "part")
    make_model(tmp_path, "pipe", "ensemble_scheduling {{ step {{ model_name: 'part' }} }}")
    before = hash_of(tmp_path, "pipe")
    (part / "1" / "model.py").write_text("weights = 2\n")
    assert hash_of(tmp_path, "pipe") != before


def test_select_marks_an_ensemble_whose_step_is_missing(tmp_path: Path) -> None:
    """A step that the repository does not hold is named in the error, and is not searched outside the repository."""
    make_model(tmp_path, "good")
    make_model(tmp_path, "pipe", "ensemble_scheduling {{ step {{ model_name: '../gone' }} }}")
    assert select(read_repository(tmp_path))[1].error == "needs ../gone, which the repository does not hold"


def test_links_may_not_leave_the_repository(tmp_path: Path) -> None:
    """A link within the repository is followed; one to the outside or to a folder above it is an error of its model."""
    repository = tmp_path / "repository"
    make_model(repository, "good")
    inner = make_model(repository, "inner")
    (inner / "1" / "weights").symlink_to(repository / "good" / "1" / "model.py")
    outer = make_model(repository, "outer")
    (tmp_path / "secret").write_text("x")
    (outer / "1" / "weights").symlink_to(tmp_path / "secret")
    circle = make_model(repository, "circle")
    (circle / "1" / "again").symlink_to(circle)
    models = {model.name: model for model in select(read_repository(repository))}
    assert models["inner"].error == ""
    assert "leaves the repository" in models["outer"].error
    assert "a folder above it" in models["circle"].error


def test_variant_config_applies_every_part_to_the_whole_configuration() -> None:
    """Instances, batching and the largest batch change; the rest and the original configuration stay the same."""
    config = parse_config(CONFIG.format(name="m"))
    before = parse_config(CONFIG.format(name="m"))
    variant = Variant(instances=4, dynamic_batching=True, max_queue_delay_s=250e-6, max_batch_size=4)
    changed = variant_config(config, variant)
    assert changed["instance_group"] == [{"count": 4, "kind": "KIND_CPU"}]  # the first group, 4 in all
    assert changed["max_batch_size"] == 4
    # 250e-6 s is 250 microseconds; the preferred size 8 is above the new largest batch.
    assert changed["dynamic_batching"] == {"preferred_batch_size": [4], "max_queue_delay_microseconds": 250}
    assert {key: changed[key] for key in ("name", "input", "parameters")} == {
        key: config[key] for key in ("name", "input", "parameters")
    }
    assert config == before
    assert "dynamic_batching" not in variant_config(config, Variant(dynamic_batching=False))
    assert variant_config(config, Variant()) == config


@pytest.mark.parametrize(
    ("scheduler", "variant"),
    [
        ("ensemble_scheduling", Variant(instances=2)),
        ("ensemble_scheduling", Variant(dynamic_batching=True)),
        ("sequence_batching", Variant(dynamic_batching=True)),
    ],
)
def test_variant_config_refuses_what_the_scheduler_excludes(scheduler: str, variant: Variant) -> None:
    """Ensembles have no instances, and neither they nor sequences are batched dynamically."""
    with pytest.raises(ModelError):
        variant_config({"name": "m", scheduler: {}}, variant)


def test_reading_a_repository_does_not_start_grpc(tmp_path: Path) -> None:
    """Only protobuf and the message types are loaded, and grpc's own import still works afterwards."""
    make_model(tmp_path, "m")
    code = (
        "import sys; from pathlib import Path; from analyzer.models.repository import read_repository\n"
        "assert 'google' not in sys.modules\n"
        "(model,) = read_repository(Path(sys.argv[1])); assert not model.error\n"
        "assert 'grpc' not in sys.modules and 'tritonclient' not in sys.modules\n"
        "import tritonclient.grpc.model_config_pb2"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
