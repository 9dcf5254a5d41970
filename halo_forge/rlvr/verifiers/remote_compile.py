"""Microsoft's C++ compiler, on a Windows machine that is reached by SSH."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from halo_forge.core.errors import SandboxFault, VerifierFault
from halo_forge.rlvr.verifiers.compile import CompileVerifier
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.sandbox import Sandbox
from halo_forge.sandbox.ssh import Account, FarSide, SshSandbox, log_in

__all__ = ["RemoteMSVCVerifier"]

_USUAL = FarSide()


class RemoteMSVCVerifier(CompileVerifier):
    r"""Judges C++ (the default) and C by ``cl.exe`` on a Windows machine; see `CompileVerifier`.

    All answers go over one SSH connection. Trouble with it is a fault and never a reward. Programs
    run on that machine with limits, and otherwise unconfined: give them an account, better a
    virtual machine, that has nothing to lose. See ``docs/SECURITY.md``.

    The machine needs an OpenSSH server, Visual Studio 2017 or newer, or its Build Tools, with the
    C++ compiler, and a place in ``known_hosts`` here.

    Args:
        host: Name or address of the machine.
        user: Account on it.
        ssh_key: File with the private key, without a passphrase.
        input_dir: Folder over there for sources; a relative one lies in the account's home.
        output_dir: Folder over there for what is built.
        timeout: CPU seconds of the compilation.
        run_after_compile: Run what was compiled; implied by ``expected_output``.
        run_timeout: CPU seconds of one run.
        expected_output: What a program prints, for prompts that do not say so themselves. It stays
            here.
        stdin_input: Standard input of that run.
        keep_remote_binary: Leave each program in ``output_dir``; the name of its folder ends with
            the first digits of the SHA-256 of its source.
        flags: Compiler flags instead of the toolchain's own.
        max_workers: Answers judged at one time; at most 8 are on their way.
        memory_limit_mb: MiB of memory of a run.
        warn_as_error: A warning, or silencing warnings, ends the ladder at 0.3.
        port: Port of the SSH server.
        known_hosts: File with the machine's public key; ``~/.ssh/known_hosts`` when absent.
        shell_command: How ``{command}`` is run in ``{folder}`` over there, where ``cl`` is found;
            by default Visual Studio's newest is looked for.

    Raises:
        ValueError: If a limit is not positive, or a folder's name would need quoting.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["cl"], TOOLCHAINS["cl-c"])

    def __init__(  # noqa: PLR0913 - the public signature of the contract
        self,
        host: str,
        user: str,
        ssh_key: str,
        input_dir: str = _USUAL.input_dir,
        output_dir: str = _USUAL.output_dir,
        timeout: float = 60,
        run_after_compile: bool = False,
        run_timeout: float = 5,
        expected_output: str | None = None,
        stdin_input: str | None = None,
        keep_remote_binary: bool = False,
        flags: Sequence[str] | None = None,
        max_workers: int | None = None,
        memory_limit_mb: int = 512,
        warn_as_error: bool = False,
        port: int = 22,
        known_hosts: str | None = None,
        shell_command: str = _USUAL.shell_command,
    ) -> None:
        self._account = Account(host, user, ssh_key, port, known_hosts)
        self._far_side = FarSide(input_dir, output_dir, shell_command, keep_remote_binary)
        super().__init__(
            flags=flags,
            timeout=timeout,
            max_workers=max_workers,
            run_after_compile=run_after_compile,
            run_timeout=run_timeout,
            expected_output=expected_output,
            stdin_input=stdin_input,
            memory_limit_mb=memory_limit_mb,
            warn_as_error=warn_as_error,
            sandbox=self._open,
        )

    def _open(self, *, workers: int) -> Sandbox:
        return SshSandbox(self._account, self._far_side, workers=workers)

    def test_connection(self) -> str:
        """Log in and out, and return what the server says it is.

        Raises:
            VerifierFault: If that does not work; the message says how to mend it.
        """
        try:
            return log_in(self._account)
        except SandboxFault as fault:
            raise VerifierFault(str(fault)) from fault

    def test_msvc(self) -> str:
        """Build and run a program over there, and return the compiler's version.

        Raises:
            VerifierFault: If that does not work; the message says how to mend it.
        """
        return self._tool(self._languages()[0]).version
