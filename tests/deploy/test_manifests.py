"""The Kubernetes manifests, as kubectl renders them: valid, hardened, and fit for one pod with one GPU."""

import copy

import kubernetes_validate
import kubernetes_validate.utils
import pytest

VARIANTS = ("cpu", "gpu")
COS = ("BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL")


@pytest.fixture(params=VARIANTS)
def objects(request, overlays) -> dict[str, dict]:
    """One overlay's objects, by kind/name."""
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in overlays[request.param]}


@pytest.fixture
def deployment(objects) -> dict:
    return objects["Deployment/visrec"]


@pytest.fixture
def pod(deployment) -> dict:
    return deployment["spec"]["template"]["spec"]


@pytest.fixture
def container(pod) -> dict:
    (only,) = pod["containers"]
    return only


@pytest.fixture
def env(container) -> dict[str, dict]:
    return {entry["name"]: entry for entry in container["env"]}


@pytest.mark.parametrize("version", kubernetes_validate.utils.all_versions())
def test_every_object_is_valid_strictly(objects, version):
    """Unknown or misspelt fields are refused, for every Kubernetes version whose schema is known."""
    assert objects, "nothing was rendered, so nothing would be checked"
    for one in objects.values():
        kubernetes_validate.validate(copy.deepcopy(one), version, strict=True)


def test_validator_refuses_a_misspelt_field(deployment):
    """The check above means something: it sees one wrong letter deep in the pod."""
    wrong = copy.deepcopy(deployment)
    wrong["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []

    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        kubernetes_validate.validate(wrong, kubernetes_validate.utils.latest_version(), strict=True)


def test_nothing_but_the_expected_objects_is_made(objects):
    """Above all no Secret: those are made by hand, never from a file in the repository."""
    assert set(objects) == {
        "Deployment/visrec",
        "NetworkPolicy/visrec",
        "PersistentVolumeClaim/visrec-cache",
        "PersistentVolumeClaim/visrec-data",
        "Service/visrec",
    }


def test_only_the_gpu_overlay_asks_for_a_gpu(overlays):
    """One GPU and the matching toleration there; not a word of it in the other, which must run anywhere."""
    pods = {
        name: next(o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment")
        for name, objects in overlays.items()
    }

    assert pods["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pods["gpu"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "nvidia" not in str(overlays["cpu"])
    assert "tolerations" not in pods["cpu"]


def test_overlays_can_replace_each_other(overlays):
    """Selectors are immutable: were they different, going from CPU to GPU would need the Deployment deleted."""
    by_name = [
        {f"{o['kind']}/{o['metadata']['name']}": o for o in objects if o["kind"] != "Deployment"}
        for objects in overlays.values()
    ]
    selectors = [o["spec"]["selector"] for objects in overlays.values() for o in objects if o["kind"] == "Deployment"]

    assert by_name[0] == by_name[1]
    assert selectors[0] == selectors[1]


def test_one_pod_is_replaced_not_rolled(deployment):
    """One GPU and ReadWriteOnce claims: a rolling update would wait for what the old pod holds."""
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_claims_exist_and_are_written_by_one_node(objects, pod):
    """Each claim that the pod names is part of the overlay."""
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}

    assert claims == {"visrec-data", "visrec-cache"}
    for claim in claims:
        assert objects[f"PersistentVolumeClaim/{claim}"]["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize("name", COS)
def test_credentials_come_from_a_secret_and_may_be_absent(env, name):
    """Named one by one, so that nothing else of the Secret enters; optional, so that local buckets need none."""
    assert env[name] == {
        "name": name,
        "valueFrom": {"secretKeyRef": {"name": "visrec-cos", "key": name, "optional": True}},
    }


def test_login_secret_is_where_streamlit_looks_and_may_be_absent(pod, container, env):
    """The one path in STREAMLIT_SECRETS_FILES lies in the mounted Secret; an absent file means an open page."""
    (volume,) = [v for v in pod["volumes"] if "secret" in v]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]

    assert env["STREAMLIT_SECRETS_FILES"]["value"] == mount["mountPath"] + "/secrets.toml"
    assert volume["secret"]["optional"] is True
    assert mount["readOnly"] is True


@pytest.mark.parametrize("variable", ["VISREC_BUCKETS", "VISREC_RUNS", "VISREC_CACHE"])
def test_each_folder_of_visrec_is_a_claim(pod, container, env, variable):
    """A folder that is not mounted would be read-only, and lost with the pod."""
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    claimed = {v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v}

    mount = mounts[env[variable]["value"]]

    assert mount["name"] in claimed
    assert mount["subPath"], "the root of a volume may hold lost+found, which would be taken for a run"


def test_manifest_and_image_name_the_same_folders(env, image_env):
    """Two places say it (the image for Docker, the manifest for readers); they must say the same."""
    for name in ("HOME", "VISREC_BUCKETS", "VISREC_RUNS", "VISREC_CACHE", "KERAS_HOME"):
        assert env[name]["value"] == image_env[name]


def test_whatever_is_written_has_a_writable_place(pod, container, env):
    """With a read-only root file system: HOME on an emptyDir, Keras' weights below the cache's claim."""
    temporary = {v["name"] for v in pod["volumes"] if "emptyDir" in v}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}

    assert mounts[env["HOME"]["value"]] in temporary
    assert env["KERAS_HOME"]["value"].startswith(env["VISREC_CACHE"]["value"] + "/")


def test_every_volume_is_mounted_and_every_mount_has_a_volume(pod, container):
    """Kubernetes refuses the second mistake only at run time, the first never."""
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_streamlit_on_the_port_it_serves(container, dockerfile, probe):
    """The port by name, which is the one that the image exposes."""
    (port,) = container["ports"]

    assert container[probe]["httpGet"] == {"path": "/_stcore/health", "port": port["name"]}
    assert ("EXPOSE", str(port["containerPort"])) in dockerfile


def test_a_busy_pod_is_not_killed(container):
    """Training dies with its container, so only minutes of silence may end it, and a slow start is no fault."""
    liveness, startup = container["livenessProbe"], container["startupProbe"]

    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 300
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


def test_an_upload_reaches_the_pod_of_its_page(objects, deployment, container):
    """The upload is a request of its own: without affinity it may meet a pod that does not know the session."""
    service = objects["Service/visrec"]["spec"]
    (port,) = service["ports"]

    assert service["sessionAffinity"] == "ClientIP"
    assert service["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert port["targetPort"] == container["ports"][0]["name"]


def test_network_policy_lets_in_the_dashboard_port_only(objects, deployment, container):
    """The policy selects our pod and names the port that it serves."""
    policy = objects["NetworkPolicy/visrec"]["spec"]

    assert policy["podSelector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert policy["ingress"] == [{"ports": [{"port": container["ports"][0]["containerPort"], "protocol": "TCP"}]}]


def test_pod_runs_without_privileges(pod, container, dockerfile):
    """What the "restricted" Pod Security Standard asks for, and a read-only root file system."""
    user = next(rest for name, rest in dockerfile if name == "USER")

    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == user
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_volumes_belong_to_the_group_of_the_user(pod):
    """A fresh claim belongs to root; fsGroup hands it to the user that runs."""
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_service_variables_stay_out_of_visrec_settings(pod):
    """A Service called visrec would set VISREC_PORT=tcp://..., in the name space of our own settings."""
    assert pod["enableServiceLinks"] is False


def test_resources_are_asked_for_and_bounded(container):
    """Without requests the scheduler guesses; without limits one training starves its neighbours."""
    for part in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(container["resources"][part])
