"""What scripts/cluster/ holds, checked by each file's own tool as far as that runs anywhere: no cluster, no account."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from tune_cmx import __version__
from tune_cmx.cli import app

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "scripts" / "cluster"
IN_IMAGE = "/home/ray/tune_cmx"


def text(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ray_version() -> str:
    """That of the lock."""
    return re.findall(r"^ray==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[0]


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of `tune-cmx` as the command reads them; wrong ones raise."""
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    options = commands.commands[words[0]].make_context(words[0], words[1:]).params
    space = Path(options["space"])
    assert (ROOT / (space.relative_to(IN_IMAGE) if space.is_absolute() else space)).is_file()
    return options


def in_comment(name: str, start: str) -> list[str]:
    """The words of a command of a file's header, its lines joined."""
    lines = [line.removeprefix("#").strip() for line in text(name).splitlines() if line.startswith("#")]
    command = " ".join(lines)[" ".join(lines).index(start) :]
    return command.replace("\\ ", "").split()


# ---------------------------------------------------------------- Slurm


def test_the_slurm_script_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", CLUSTER / "slurm.sh"], check=True)


def test_the_slurm_script_asks_for_a100s_and_for_being_queued_again() -> None:
    options = re.findall(r"^#SBATCH (--\S+)$", text("slurm.sh"), re.MULTILINE)
    assert {"--requeue", "--no-kill", "--signal=B:USR1@300", "--open-mode=append"} <= set(options)
    assert any(re.fullmatch(r"--gres=gpu:a100:[1-8]", option) for option in options)


# ---------------------------------------------------------------- Kubernetes


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """The documents of volume.yaml and rayjob.yaml by kind."""
    documents = [*yaml.safe_load_all(text("volume.yaml")), *yaml.safe_load_all(text("rayjob.yaml"))]
    return {document["kind"]: document for document in documents}


def pods(manifests: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    cluster = manifests["RayJob"]["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_manifest_holds_a_job_its_storage_and_its_fence(manifests: dict[str, dict[str, Any]]) -> None:
    assert {kind: document["apiVersion"] for kind, document in manifests.items()} == {
        "PersistentVolumeClaim": "v1",
        "Pod": "v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "RayJob": "ray.io/v1",
    }
    assert len({document["metadata"]["namespace"] for document in manifests.values()}) == 1
    assert manifests["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    fenced = manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert all(fenced.items() <= pod["metadata"]["labels"].items() for pod in pods(manifests))
    for pod in (manifests["Pod"], *pods(manifests)):
        (claim,) = [volume["persistentVolumeClaim"] for volume in pod["spec"]["volumes"] if volume["name"] == "shared"]
        assert claim["claimName"] == manifests["PersistentVolumeClaim"]["metadata"]["name"]
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_every_pod_runs_the_image_of_the_dockerfile_with_the_locked_ray(
    manifests: dict[str, dict[str, Any]], ray_version: str
) -> None:
    image = in_comment("Dockerfile", "docker build")[5]
    assert image.endswith(f"/tune-cmx:{__version__}-ray{ray_version}")
    assert image == in_comment("Dockerfile", "docker push")[2]
    everywhere = (manifests["Pod"], *pods(manifests))
    assert {container["image"] for pod in everywhere for container in pod["spec"]["containers"]} == {image}
    assert len({str(pod["spec"]["securityContext"]) for pod in everywhere}) == 1
    assert str(manifests["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]) == ray_version
    assert re.findall(r"^FROM (\S+)$", text("Dockerfile"), re.MULTILINE) == [f"rayproject/ray:{ray_version}-py311-cpu"]


def test_what_the_image_copies_is_there() -> None:
    copied = [line.split()[2:-1] for line in text("Dockerfile").splitlines() if line.startswith("COPY")]
    assert all((ROOT / name).exists() for names in copied for name in names)
    assert f"WORKDIR {IN_IMAGE}\n" in text("Dockerfile")


def test_the_entrypoint_is_a_search_that_goes_on(manifests: dict[str, dict[str, Any]]) -> None:
    job = manifests["RayJob"]["spec"]
    python, path, *words = job["entrypoint"].split()
    assert [python, path] == ["python", f"{IN_IMAGE}/scripts/search.py"]
    assert "--resume-or-start" in words
    options = parsed(["search", *words])
    assert options["address"] == "auto"
    for place in (options["data"], options["output_dir"]):
        assert str(place).startswith("/shared/")
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True
    workers = job["rayClusterSpec"]["workerGroupSpecs"]
    for group in workers:
        (container,) = group["template"]["spec"]["containers"]
        asked = container["resources"]
        assert asked["limits"] == asked["requests"]
        assert int(asked["limits"]["nvidia.com/gpu"]) >= float(options["gpus_per_trial"]) > 0
        assert int(asked["limits"]["cpu"]) >= options["cpus_per_trial"]
    assert min(group["replicas"] for group in workers) == 0
    assert max(group["minReplicas"] for group in workers) > 0  # a search refuses to start where no GPU is


def test_workers_alone_may_run_on_spot_nodes(manifests: dict[str, dict[str, Any]]) -> None:
    head, spot, on_demand = pods(manifests)
    tolerated = [{entry["key"] for entry in pod["spec"].get("tolerations", [])} for pod in (head, spot, on_demand)]
    assert tolerated[0] == set()
    assert tolerated[2] == {"nvidia.com/gpu"}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= tolerated[1]


# ---------------------------------------------------------------- AWS


@pytest.fixture(scope="module")
def launcher() -> dict[str, Any]:
    """aws.yaml."""
    loaded: dict[str, Any] = yaml.safe_load(text("aws.yaml"))
    return loaded


def test_ray_up_takes_the_launcher_file(launcher: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(json.loads(json.dumps(launcher)))
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0
    with pytest.raises(Exception, match="no_such_key"):
        validate_config({**prepared, "no_such_key": 1})


def test_the_launcher_starts_spot_a100s_beside_a_head_without_trials(
    launcher: dict[str, Any], ray_version: str
) -> None:
    types = launcher["available_node_types"]
    head = types[launcher["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    (spot,) = [kind for kind in types.values() if "InstanceMarketOptions" in kind["node_config"]]
    assert spot["node_config"]["InstanceType"] == "p4d.24xlarge"
    assert spot["min_workers"] > 0  # a search refuses to start where no GPU is
    assert spot["max_workers"] <= launcher["max_workers"]
    assert launcher["docker"]["image"] == f"rayproject/ray:{ray_version}-py311-cpu"
    assert all((ROOT / source).exists() for source in launcher["file_mounts"].values() if not source.startswith("~"))


def test_the_launcher_opens_nothing_to_the_world(launcher: dict[str, Any]) -> None:
    commands = " ".join((*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"]))
    assert "--dashboard-host=127.0.0.1" in commands
    assert "0.0.0.0" not in commands
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in launcher["available_node_types"].values())
    assert "--env=RAY_AUTH_MODE=token" in launcher["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in launcher["file_mounts"]


def test_the_submission_in_the_launchers_header_is_a_search_that_goes_on() -> None:
    words = in_comment("aws.yaml", "ray submit")
    assert "scripts/search.py" in words
    arguments = words[words.index("--") + 1 : words.index("--resume-or-start") + 1]
    options = parsed(["search", *arguments])
    assert options["address"] == "auto"
    assert options["gpus_per_trial"] == "0.5"


# ---------------------------------------------------------------- docs/cluster.md


def test_the_searches_of_the_guide_are_ones_that_the_command_takes() -> None:
    guide = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    commands = [
        shlex.split(line, comments=True) for block in blocks for line in block.replace("\\\n", " ").splitlines()
    ]
    named = [(words, place) for words in commands for place, word in enumerate(words) if "search_spaces/" in word]
    assert len(named) == 5
    for words, place in named:
        arguments = words[place:]
        parsed(["check" if words[place - 1] == "check" else "search", *arguments])


def test_the_guide_names_files_that_are_there() -> None:
    guide = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:scripts|tests|search_spaces)/[\w/]+\.\w+", guide))
    assert {f"scripts/cluster/{name}" for name in ("slurm.sh", "volume.yaml", "rayjob.yaml", "aws.yaml")} <= named
    assert all((ROOT / name).is_file() for name in named)


# ---------------------------------------------------------------- the working tree of a job


def test_the_working_tree_of_a_job_is_small_and_whole() -> None:
    from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

    rules = get_excludes_from_ignore_files(ROOT, include_gitignore=True)

    def left_out(path: Path) -> bool:
        return any(rule(path) for rule in rules)

    assert all(left_out(ROOT / name) for name in (".git", ".venv", "runs", "tests", "docs"))
    sent = [path for top in ROOT.iterdir() if not left_out(top) for path in (top, *top.rglob("*"))]
    files = [path for path in sent if path.is_file() and not left_out(path)]
    assert sum(path.stat().st_size for path in files) < 10 * 2**20
    needed = [*(ROOT / "tune_cmx").rglob("*.py"), *(ROOT / "search_spaces").iterdir(), ROOT / "scripts" / "search.py"]
    assert set(needed) <= set(files)
