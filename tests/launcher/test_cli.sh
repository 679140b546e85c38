#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The command line: what goes wrong is named, with a remedy and the right code.
# Needs no module. $1 is the launcher.

ringlet=$1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
truncate -s 1M "$dir/disk"

# expect CODE TEXT ARGUMENT...
expect() {
	code=$1 text=$2
	shift 2
	output=$("$ringlet" "$@" </dev/null 2>&1)
	got=$?
	case $output in *"$text"*) ;; *) got="$got, without the text" ;; esac
	if [ "$got" != "$code" ]; then
		echo "not ok: ringlet $*: expected $code and '$text', got $got: $output"
		exit 1
	fi
	echo "ok ringlet $*"
}

expect 0 "usage: ringlet run" run --help
expect 0 "usage: ringlet" --help
expect 1 "no such command" fly
expect 1 "what to do" ""
expect 1 "say -k vmlinux" run
expect 1 "run --help" run --no-such-option
expect 1 "behind -p" run -k x root=/dev/vda
expect 1 "-m 4097: not a number from 2 to 4096" run -k x -m 4097
expect 1 "-m 1x: not a number" run -k x -m 1x
expect 1 "-m -5: not a number" run -k x -m -5
expect 1 "-c 0: not a number from 1 to 4" run -k x -c 0
expect 1 "neither on nor off" run -k x --console maybe
expect 2 "-k $dir/none: No such file" run -k "$dir/none"
expect 2 "not a regular file" run -k "$dir"
expect 2 "give the vmlinux" run -k "$dir/disk"
expect 2 "not a Ringlet-enabled kernel" run -k /bin/sh
