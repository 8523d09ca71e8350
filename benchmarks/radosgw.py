"""A real S3 server for benchmarks: Debian's Ceph RADOS Gateway, alone on loopback, with its objects in memory.

One monitor, one OSD and the gateway, without a cluster manager: what `apt-get install --no-install-recommends radosgw
ceph-mon ceph-osd ceph-common` brings is enough. Everything lies in a temporary folder and ends with the ``with`` block.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from visrec.config import S3Settings

NEEDED = ("ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool")
PATIENCE = 120  # seconds until the gateway answers
CONF = """[global]
fsid = {fsid}
mon_host = 127.0.0.1:{mon}
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_supported = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
ms_bind_ipv6 = false
ms_mon_client_mode = crc
keyring = {folder}/keyring
run_dir = {folder}
admin_socket =
log_file = {folder}/$name.log
debug_ms = 0/0
debug_rgw = 0/0
debug_osd = 0/0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_data = {folder}/osd
mon_data = {folder}/mon
osd_memory_target = 1073741824
[client.rgw]
rgw_frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:{port}
rgw_enable_ops_log = false
rgw_enable_usage_log = false
rgw_thread_pool_size = 64
"""


def missing() -> list[str]:
    """The programs that are not on this machine; empty where the gateway can be started."""
    return [name for name in NEEDED if shutil.which(name) is None]


@contextlib.contextmanager
def local_radosgw() -> Iterator[S3Settings]:
    """Start the gateway, give the settings that reach it, and end it."""
    folder = Path(tempfile.mkdtemp(prefix="visrec-rgw-"))
    daemons: list[subprocess.Popen] = []
    port = _free_port()
    conf = folder / "ceph.conf"
    conf.write_text(CONF.format(fsid=uuid.uuid4(), mon=_free_port(), port=port, folder=folder))
    try:
        _start_cluster(folder, conf, daemons)
        keys = _make_user(conf)
        daemons.append(_daemon(folder, "radosgw", "-f", "-n", "client.rgw", "-c", str(conf)))
        _await_answer(f"http://127.0.0.1:{port}", daemons[-1], folder)
        yield S3Settings(
            access_key_id=keys["access_key"], secret_access_key=keys["secret_key"],
            endpoint_url=f"http://127.0.0.1:{port}", addressing_style="path",
        )  # fmt: skip
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGKILL)  # its objects are in memory: there is nothing to save
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start_cluster(folder: Path, conf: Path, daemons: list) -> None:
    address = next(line.split(" = ")[1] for line in conf.read_text().splitlines() if line.startswith("mon_host"))
    fsid = next(line.split(" = ")[1] for line in conf.read_text().splitlines() if line.startswith("fsid"))
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    # nobody asks for the key, but the gateway does not start without one
    _run("ceph-authtool", "--create-keyring", str(folder / "keyring"), "--gen-key", "-n", "client.rgw")
    _run("monmaptool", "--create", "--addv", "a", f"[v2:{address}]", "--fsid", fsid, str(folder / "monmap"))
    _run("ceph-mon", "--mkfs", "-i", "a", "-c", str(conf), "--monmap", str(folder / "monmap"))
    daemons.append(_daemon(folder, "ceph-mon", "-f", "-i", "a", "-c", str(conf)))
    _run("ceph", "-c", str(conf), "osd", "new", osd := str(uuid.uuid4()), "0")
    _run("ceph-osd", "--mkfs", "-i", "0", "-c", str(conf), "--osd-uuid", osd)
    daemons.append(_daemon(folder, "ceph-osd", "-f", "-i", "0", "-c", str(conf)))


def _make_user(conf: Path) -> dict:
    made = _run("radosgw-admin", "-c", str(conf), "user", "create", "--uid", "bench", "--display-name", "bench")
    return json.loads(made[made.index("{") :])["keys"][0]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=_environment(), check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return done.stdout


def _daemon(folder: Path, *command: str) -> subprocess.Popen:
    with open(folder / f"{command[0]}.out", "wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=_environment(), stdin=subprocess.DEVNULL)


def _environment() -> dict[str, str]:
    return {**os.environ, "CEPH_ARGS": "", "CEPH_CONF": ""}


def _await_answer(url: str, gateway: subprocess.Popen, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and gateway.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:
            return  # an answer, if only a refusal
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"radosgw did not answer: {(folder / 'radosgw.out').read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
