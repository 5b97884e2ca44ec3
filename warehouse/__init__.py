"""The contract: what is on disk, how it is named, and how it is asked.

Nothing here knows torch, Prefect or any other room of the project.
"""

from warehouse.artifact import Artifact, Request, Work
from warehouse.store import Warehouse

__all__ = ["Artifact", "Request", "Warehouse", "Work"]
