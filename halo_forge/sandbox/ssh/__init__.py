"""A sandbox on a machine of yours that is reached by SSH: time limits there, little confinement.

For compilers that run on Windows alone. Needs the extra ``remote`` (asyncssh); see `SshSandbox`.
"""

from __future__ import annotations

from halo_forge.sandbox.ssh.connection import Account, log_in
from halo_forge.sandbox.ssh.machine import PRODUCTS, FarSide
from halo_forge.sandbox.ssh.remote import SshSandbox

__all__ = ["PRODUCTS", "Account", "FarSide", "SshSandbox", "log_in"]
