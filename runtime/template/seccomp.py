"""Linux' filter of system calls, for a process that computes and talks to the files it has open, and nothing else."""

import ctypes
import os
import struct
import sys

# Numbers of linux/audit.h and of each architecture's unistd: read, write, mmap, mprotect, munmap, brk, rt_sigaction,
# rt_sigprocmask, rt_sigreturn, mremap, madvise, setitimer, exit, futex, clock_gettime, exit_group.
_CALLS = {
    "x86_64": (0xC000003E, (0, 1, 9, 10, 11, 12, 13, 14, 15, 25, 28, 38, 60, 202, 228, 231)),
    "aarch64": (0xC00000B7, (63, 64, 222, 226, 215, 214, 134, 135, 139, 216, 233, 103, 93, 98, 113, 94)),
}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38  # linux/prctl.h, linux/seccomp.h
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_RET


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def only_compute() -> bool:
    """Let all system calls but those above fail with EPERM from now on: no file, socket or process can be opened.

    False where that can't be had: another processor, 32-bit Python, or a kernel without such filters.
    """
    machine = os.uname().machine
    if machine not in _CALLS or sys.maxsize < 1 << 32:
        return False
    architecture, calls = _CALLS[machine]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, 0)]
    program += [(_EQUAL, len(calls) - i, 0, call) for i, call in enumerate(calls)]  # true: jump to the end
    program += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    filter = ctypes.byref(_Program(len(program), code))
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0):
        return False
    return bool(prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filter, 0, 0) == 0)
