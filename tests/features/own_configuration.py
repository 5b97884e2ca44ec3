"""An openSMILE configuration as a user would write it: loudness by RMS energy, frame by frame and its mean."""

from __future__ import annotations

from pathlib import Path

WHOLE = r"""
;; frames of 20 ms every 5 ms
[componentInstances:cComponentManager]
instance[dataMemory].type=cDataMemory

\{\cm[source{?}:source include config]}
\{energy.conf.inc}

[componentInstances:cComponentManager]
instance[mean].type=cFunctionals

[mean:cFunctionals]
reader.dmLevel = energy
writer.dmLevel = func
\{\cm[frameModeFunctionalsConf{mode.conf.inc}:the package has its own]}
functionalsEnabled = Means
Means.amean = 1
Means.absmean = 0
Means.qmean = 0
Means.nzamean = 0
Means.nzabsmean = 0
Means.nzqmean = 0
Means.nzgmean = 0
Means.nnz = 0

\{\cm[sink{?}:include external sink]}
"""

PART = r"""
[componentInstances:cComponentManager]
instance[frame].type=cFramer
instance[energy].type=cEnergy

[frame:cFramer]
reader.dmLevel = wave
writer.dmLevel = frame
frameSize = 0.020
frameStep = 0.005
frameCenterSpecial = left

[energy:cEnergy]
reader.dmLevel = frame
writer.dmLevel = energy
rms = 1
log = 0
writer.levelconf.growDyn = 1
writer.levelconf.isRb = 0
"""


def write_configuration(folder: Path) -> Path:
    """Writes own.conf, and energy.conf.inc that it includes; returns the path of the first."""
    (folder / "own.conf").write_text(WHOLE, encoding="utf-8")
    (folder / "energy.conf.inc").write_text(PART, encoding="utf-8")
    return folder / "own.conf"
