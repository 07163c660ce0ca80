"""What the project is built from is pinned, a bot proposes newer releases, and what is not public is bounded."""

import re
import tomllib
from importlib.metadata import version

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from inkdigits.network import shipped_models

from support.paths import ROOT

DEPLOY = ROOT / "deploy"
# Images that have no digest here, each with the reason.
UNPINNED = {
    "rayproject/ray:2.60.0-py311-cpu": "no digest of it could be verified",
    "inkdigits:local": "built here",
    "inkdigits-learn:local": "built here",
}


def test_every_action_is_pinned_by_its_commit():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)(.*)", path.read_text())
        assert len(used) == path.read_text().count("uses:")
        for action, comment in used:
            if not action.startswith("./"):
                assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action}"
                assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{path.name}: {action} has no version beside it"


def test_every_image_is_pinned_by_its_digest():
    texts = [
        path.read_text() for path in (DEPLOY / "Dockerfile", DEPLOY / "learn.Dockerfile", DEPLOY / "ray.Dockerfile")
    ]
    found = [image for text in texts for image in re.findall(r"^(?:# syntax=|FROM )(\S+)", text, re.MULTILINE)]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    found += [service["image"] for service in services]
    assert len(found) == 12
    for image in found:
        assert image in UNPINNED or re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image
    assert set(UNPINNED) <= set(found), "an exception that is none any more"


def test_a_bot_proposes_newer_releases_of_all_that_is_pinned():
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    folders = {
        (each["package-ecosystem"], folder)
        for each in updates
        for folder in each.get("directories", [each.get("directory")])
    }
    assert folders == {
        ("github-actions", "/"),
        ("docker", "/deploy"),
        ("docker-compose", "/"),
        ("pip", "/"),
        ("pip", "/deploy"),
        ("npm", "/"),
    }


def test_every_python_that_is_claimed_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert claimed == workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={claimed[0]}"


def test_what_is_not_public_is_bounded_and_the_shipped_recipe_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    # Its protocol, server and types are subclassed and imported: the next minor release may change them.
    here = Version(version("uvicorn"))
    assert wanted["uvicorn"].contains(here)
    assert not wanted["uvicorn"].contains(f"{here.major}.{here.minor + 1}")
    [torch] = [r for r in map(Requirement, project["optional-dependencies"]["train"]) if r.name == "torch"]
    lines = (DEPLOY / "train-constraints.txt").read_text().splitlines()
    [pinned] = [Requirement(line) for line in lines if not line.startswith("#")]
    [release] = [one.version for one in pinned.specifier]
    assert pinned.name == "torch"
    assert torch.specifier.contains(release)
    assert torch.specifier != pinned.specifier
    trained = {Version(entry["versions"]["torch"]).public for entry in shipped_models().values()}
    assert trained == {release}
    assert "--editable '.[dev]' --constraint $(TRAIN_CONSTRAINTS)" in (ROOT / "Makefile").read_text()


def test_the_changelog_has_the_version_and_a_place_for_what_comes():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(project['version'])} - \d{{4}}-\d\d-\d\d", headings[1])
