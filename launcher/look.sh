#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A look around in the host (chapter 0): each function prints one line.

missing() {
	echo "exercise $1 is not done: see README.md#$1"
	exit 1
}

# The release of the host's kernel.
release() {
#if SOLUTION >= 1
	uname -r
#else
	missing 0.1
#endif
}

# Where the guest's kernel would start: the gva, as the launcher's --dry-run says for /guest/vmlinux.
entry() {
#if SOLUTION >= 1
	ringlet run -k /guest/vmlinux --dry-run | sed -n 's/.* starts at gva //p'
#else
	missing 0.1
#endif
}

# "yes" if this CPU could virtualise in hardware (flags vmx or svm in /proc/cpuinfo), else "no".
hardware() {
#if SOLUTION >= 1
	grep -qwE 'vmx|svm' /proc/cpuinfo && echo yes || echo no
#else
	missing 0.1
#endif
}

"$@"
