"""The one loop: generate, verify, select, train.

Re-exports nothing, because Python runs this file before `halo_forge.rlvr.verifiers`, which must
stay light.
"""
