#!/usr/bin/env python3
"""Checks kubernetes.yaml.

Every document against the JSON schemas of Kubernetes, strictly (a member that
the API does not have is an error), for the oldest and the newest version that
the package kubernetes-validate carries; then what a schema cannot know: that
the parts, the environment and the volumes of the Job fit together.

The check is shown manifests that it must refuse before it is believed.
"""

import copy
import pathlib
import re
import sys

import kubernetes_validate
import yaml

FILE = pathlib.Path(__file__).with_name("kubernetes.yaml")
OLDEST = "1.25"
NEWEST = kubernetes_validate.latest_version()
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def problems(documents):
    """What is wrong, a sentence each."""
    found = []
    for version in (OLDEST, NEWEST):
        for document in documents:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(str(part) for part in error.path)
                found.append(f"{version}: {document.get('kind')} {place}: {error.message}")
    jobs = [d for d in documents if d.get("kind") == "Job"]
    claims = {d["metadata"]["name"] for d in documents if d.get("kind") == "PersistentVolumeClaim"}
    if len(jobs) != 1:
        return found + [f"there are {len(jobs)} Jobs, not one"]
    return found + job_problems(jobs[0]["spec"], claims)


def job_problems(spec, claims):
    found = []
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    if spec.get("completionMode") != "Indexed":
        found.append("without completionMode Indexed no pod has an index")
    if pod.get("restartPolicy") != "OnFailure":
        found.append("a killed container is to be started again: restartPolicy OnFailure")
    # $(NAME) stands for a variable that is listed before.
    known = {}
    for variable in container.get("env", []):
        value = variable.get("value")
        if value is None:
            value = "<" + variable["valueFrom"]["fieldRef"]["fieldPath"] + ">"
        known[variable["name"]] = re.sub(
            r"\$\((\w+)\)", lambda m: known.get(m.group(1), m.group(0)), value
        )
    due = f"<{INDEX}>/{spec.get('completions')}"
    if known.get("MAILPROOF_SHARD") != due:
        found.append(f"MAILPROOF_SHARD is {known.get('MAILPROOF_SHARD')}, not {due}")
    arguments = container["args"]
    for wanted in ("run", "--leave-verdict", "--campaign", "--seeds"):
        if wanted not in arguments:
            found.append(f"the arguments lack {wanted}")
    if "--campaign" in arguments:
        folder = arguments[arguments.index("--campaign") + 1]
        mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
        volumes = {
            v["name"]: v.get("persistentVolumeClaim", {}).get("claimName")
            for v in pod.get("volumes", [])
        }
        if volumes.get(mounts.get(folder)) not in claims:
            found.append(f"{folder} is on no volume that is claimed here")
    return found


def change(documents, place, value):
    """The documents with one member of the Job changed; None takes it out."""
    documents = copy.deepcopy(documents)
    at = next(d for d in documents if d["kind"] == "Job")
    for part in place[:-1]:
        at = at[part]
    if value is None:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return documents


def main():
    documents = [d for d in yaml.safe_load_all(FILE.read_text()) if d is not None]
    container = ("spec", "template", "spec", "containers", 0)
    wrong = [
        (("spec", "completionMod"), "Indexed"),
        (("spec", "completionMode"), None),
        (("spec", "completions"), 8),
        (("spec", "parallelism"), "4"),
        (("spec", "template", "spec", "restartPolicy"), "Sometimes"),
        (("spec", "template", "spec", "restartPolicy"), "Never"),
        (container + ("args",), ["run"]),
        (container + ("volumeMounts", 0, "mountPath"), "/elsewhere"),
        (container + ("env", 0), None),
        (("spec", "template", "spec", "volumes", 0, "persistentVolumeClaim", "claimName"), "x"),
    ]
    blind = []
    for place, value in wrong:
        if not problems(change(documents, place, value)):
            blind.append(".".join(map(str, place)))
    if blind:
        print(f"the check does not see a change of {', '.join(blind)}", file=sys.stderr)
        return 1
    found = problems(documents)
    for problem in found:
        print(f"{FILE.name}: {problem}", file=sys.stderr)
    if not found:
        print(
            f"{FILE.name}: {len(documents)} documents fit Kubernetes {OLDEST} and {NEWEST}; "
            f"{len(wrong)} changed ones were refused"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
