"""Runs a command in which io_uring_setup is refused with EPERM, as container runtimes refuse it (seccomp)."""
import ctypes
import os
import struct
import sys

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
IO_URING_SETUP = 425
EPERM = 1


def statement(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


program = b"".join([
    statement(0x20, 0, 0, 0),  # load the number of the system call
    statement(0x15, 0, 1, IO_URING_SETUP),
    statement(0x06, 0, 0, 0x00050000 | EPERM),  # refuse
    statement(0x06, 0, 0, 0x7FFF0000),  # allow
])
buffer = ctypes.create_string_buffer(program)
head = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + 4 * [ctypes.c_ulong]
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("no_new_privs is refused")
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(head), 0, 0) != 0:
    sys.exit("seccomp is refused")
os.execv(sys.argv[1], sys.argv[1:])
