"""Fixtures whose names read as English. Those that need a MRML scene skip their test when slicer-core is absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.grids import anOblique
from helpers.slurm_cluster import NoSlurm, slurm_cluster
from helpers.ssh_server import LoginRefused, SshServer, sshdProgram, sshServer
from maisi.labels import find_label
from maisi.volume import LabelVolume
from MAISILib.Interpreter import Interpreter

SHAPE = (24, 20, 16)


@pytest.fixture
def an_oblique_affine() -> np.ndarray:
    """Voxel index -> RAS mm of an oblique, anisotropic grid whose first axis runs from right to left."""
    return anOblique(flip=(-1, 1, 1))


@pytest.fixture
def a_liver_with_tumor(an_oblique_affine) -> LabelVolume:
    """Liver with a tumor in it and a spleen, on an oblique grid; no symmetry that would hide a flip."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:14, 3:15, 2:12] = find_label("liver")
    array[5:9, 6:9, 4:7] = find_label("hepatic tumor")
    array[17:22, 4:9, 5:14] = find_label("spleen")
    return LabelVolume(array, an_oblique_affine)


@pytest.fixture(scope="session")
def an_ssh_server(tmp_path_factory) -> SshServer:
    """A server on loopback that lets us in with a key."""
    if sshdProgram() is None:
        pytest.skip("sshd is not installed: run `apt-get install openssh-server`")
    try:
        with sshServer(tmp_path_factory.mktemp("ssh")) as server:
            yield server
    except LoginRefused as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def a_cluster() -> Iterator[Path]:
    """A SLURM of one node, this machine; its slurm.conf, for the environment variable SLURM_CONF."""
    try:
        with slurm_cluster() as config:
            yield config
    except NoSlurm as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session", params=["local", "remote"])
def an_interpreter(request) -> Interpreter:
    """Runs the worker as a child process, and on another machine (which is this one, over ssh)."""
    return Interpreter() if request.param == "local" else request.getfixturevalue("an_ssh_server").interpreter()


@pytest.fixture
def a_scene():
    """An empty MRML scene, which is ``slicer.mrmlScene`` during the test."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
    from MAISISynthLib.CoreScene import startScene

    scene = startScene()
    yield scene
    scene.Clear(0)


@pytest.fixture
def a_volume(a_scene, a_liver_with_tumor):
    """A CT node on the grid of ``a_liver_with_tumor``."""
    from helpers.slicer_core import addVolume

    return addVolume(np.zeros(SHAPE, np.int16), a_liver_with_tumor.affine)


@pytest.fixture
def a_segmentation_with_liver_and_tumor(a_volume, a_liver_with_tumor):
    """``a_liver_with_tumor`` as a segmentation named by a clinician: whole liver, tumor over it on its own layer."""
    from helpers.slicer_core import addSegment, addSegmentation

    node = addSegmentation(a_volume)
    array = a_liver_with_tumor.array
    liver, tumor = find_label("liver"), find_label("hepatic tumor")
    addSegment(node, (array == liver) | (array == tumor), a_volume, "Liver")
    addSegment(node, array == tumor, a_volume, "liver tumour")
    addSegment(node, array == find_label("spleen"), a_volume, "Spleen")
    return node
