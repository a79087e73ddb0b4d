"""Prints which system calls the seccomp filters it runs under let through: lines `number errno`.

An errno of 0 is a call that would reach the kernel; any other is a filter's answer. Where filters look at a call's
first argument, lines `number:argument errno` follow. No call is carried out: this adds a filter that hands each one
to a supervisor instead, which answers 0, and a filter that refuses a call (an errno) outranks that. So even reboot
and exit can be tried, and a kernel's own EPERM is not mistaken for a filter's.

Needs Linux 5.0 on x86_64 or aarch64, and Python with ctypes (Debian: python3, not python3-minimal); no capability.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys

NUMBERS = range(471)
# x86_64's uretprobe and uprobe: the kernel shows them to no filter, and kills who calls them from outside a probe.
UNFILTERED = ((335, 336), ())
# Of calls whose first argument filters look at: x86_64's and aarch64's number, and the arguments to try.
ARGUMENTS = [
    ((56, 220), [1 << bit for bit in range(64)]),  # clone, by flag
    ((41, 198), range(64)),  # socket, by family
    # personality: the domains, and every flag alone
    ((135, 92), [*range(17), 0x20008, 0xFFFFFFFF, *(1 << bit for bit in range(16, 32))]),
]
MACHINES = ["x86_64", "aarch64"]
SECCOMP_CALL = (317, 277)
# The other five arguments of a call on trial: no other call looks like that.
MARK = (0x5EC0, 0x5EC1, 0x5EC2, 0x5EC3, 0x5EC4)

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
BPF_LOAD_WORD, BPF_JUMP_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number, *arguments):
    """A system call's result, and its errno if that is -1."""
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments))
    return result, ctypes.get_errno() if result == -1 else 0


def listen(machine):
    """Adds the filter to this process; returns the supervisor's file descriptor."""
    program = []
    for position, mark in enumerate(MARK, start=1):
        # struct seccomp_data: the arguments start at 16, little endian. No match jumps to the last instruction.
        program.append((BPF_LOAD_WORD, 0, 0, 16 + 8 * position))
        program.append((BPF_JUMP_EQUAL, 0, 2 * (len(MARK) - position) + 1, mark))
    program.append((BPF_RETURN, 0, 0, SECCOMP_RET_USER_NOTIF))
    program.append((BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_NO_NEW_PRIVS) failed")
    listener, error = call(
        SECCOMP_CALL[machine], SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, ctypes.addressof(header)
    )
    if listener < 0:
        sys.exit(f"seccomp() failed: {os.strerror(error)}")
    return listener


def supervise(listener, end):
    """Answers 0 to every call on trial, until the other process has closed its end of the pipe."""
    while listener in select.select([listener, end], [], [])[0]:
        request = bytearray(80)
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, request)
        (identity,) = struct.unpack_from("Q", request)
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, struct.pack("QqiI", identity, 0, 0, 0))


def main():
    machine = MACHINES.index(os.uname().machine)
    listener = listen(machine)
    end, held = os.pipe()
    child = os.fork()
    if child:
        os.close(held)
        supervise(listener, end)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    lines = [f"{number} {call(number, 0, *MARK)[1]}" for number in NUMBERS if number not in UNFILTERED[machine]]
    for numbers, arguments in ARGUMENTS:
        number = numbers[machine]
        lines += [f"{number}:{argument:#x} {call(number, argument, *MARK)[1]}" for argument in arguments]
    print("\n".join(lines))


main()
