# shellcheck shell=sh
# What scripts/demo, scripts/test and scripts/check share; sourced from the checkout's
# top folder.  Installs only what is missing, with one line for each step.  Shows the
# output of a program only if that program failed.

venv=.venv

# A line for the person who started the script.
say() {
    printf 'hingfs: %s\n' "$*" >&2
}

# Say the reason, and end.
die() {
    say "$@"
    exit 1
}

# Is this root, or can it be?
can_be_root() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

# Run a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Run a command whose output matters only if it fails; show it then.  A file takes it: a
# service that the command starts might hold a pipe open.
quietly() {
    printed=$(mktemp)
    failed=0
    "$@" >"$printed" 2>&1 || failed=$?
    [ $failed -eq 0 ] || cat "$printed" >&2
    rm -f "$printed"
    return $failed
}

# Is this Debian package installed?
is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Can apt-get install this package, by the lists it has?
is_available() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

# Is one of the alternatives "a|b|c" installed?
any_installed() {
    for name in $(printf %s "$1" | tr '|' ' '); do
        if is_installed "$name"; then return 0; fi
    done
    return 1
}

# The first of the alternatives that apt-get knows; nothing if it knows none.
first_available() {
    for name in $(printf %s "$1" | tr '|' ' '); do
        if is_available "$name"; then
            echo "$name"
            return
        fi
    done
}

# Fetch apt's package lists, once in a run.  A broken third-party source is no
# reason to stop: what is needed comes from Debian's or Ubuntu's own.
update_lists() {
    if [ -n "${lists_updated:-}" ]; then return; fi
    lists_updated=yes
    say "fetching the package lists (apt-get update)"
    quietly as_root apt-get update -qq -o DPkg::Lock::Timeout=300 ||
        say "apt-get update had errors; going on"
}

# Install those of these packages that are missing; each may be alternatives, "a|b".
# --no-remove: no package of the machine is ever removed for ours.
install_packages() {
    missing=
    for wanted in "$@"; do
        any_installed "$wanted" || missing="$missing $wanted"
    done
    if [ -z "$missing" ]; then return; fi
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; if something fails below, install:$missing"
        return
    fi
    can_be_root || die "system packages are missing, and this is not root and has no sudo.
  As root, run: apt-get update; apt-get install --no-install-recommends$missing"
    update_lists
    lists_known || die "apt-get has no package lists: no network, or no sources in /etc/apt.
  Needed:$missing"
    chosen=
    for wanted in $missing; do
        name=$(first_available "$wanted")
        [ -n "$name" ] || say "this release has no package $wanted; going on without"
        chosen="$chosen${name:+ $name}"
    done
    if [ -z "$chosen" ]; then return; fi
    say "installing system packages:$chosen"
    # shellcheck disable=SC2086  # a list of names
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 $chosen ||
        die "apt-get could not install:$chosen"
}

# Does apt have the lists of an archive?  A fresh container image has none.
lists_known() {
    [ -n "$(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null)" ]
}

# Is this shared library there, by a package or not?
has_library() {
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q "$1"
}

# What FUSE needs, where it is not there: libfuse 3 and its fusermount3.  Never Debian's
# package `fuse`: it pushes out fuse3 and half a desktop with it; where it is already
# there, it stays, and libfuse 2 mounts.
install_fuse() {
    if ! { command -v fusermount3 >/dev/null && has_library libfuse3.so; }; then
        any_installed fuse || install_packages fuse3
    fi
    if [ ! -e /etc/mtab ] && can_be_root; then # fusermount wants it; a bare chroot has none
        say "linking /etc/mtab to /proc/self/mounts"
        as_root ln -sf /proc/self/mounts /etc/mtab
    fi
}

# Both ways to mount, for the tests; newer releases have no libfuse 2 any more.
install_both_fuses() {
    install_fuse
    if has_library libfuse.so.2; then return; fi
    if ! command -v apt-get >/dev/null || ! can_be_root; then return; fi
    lists_known || update_lists
    libfuse2=$(first_available 'libfuse2|libfuse2t64')
    if [ -n "$libfuse2" ]; then install_packages "$libfuse2"; fi
}

# Keep a service that came with its package from running, now and after a boot.
stop_service() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now "$1" || true
    else
        as_root service "$1" stop >/dev/null 2>&1 || true
    fi
}

# Can FUSE be used?  If not, say why and what helps.
require_fuse_device() {
    if [ ! -c /dev/fuse ] && [ "$(id -u)" -eq 0 ]; then
        modprobe fuse 2>/dev/null || true
    fi
    [ -c /dev/fuse ] || die "there is no /dev/fuse, so nothing can be mounted.
  On a machine of your own: sudo modprobe fuse
  In a container: start it with --device /dev/fuse --cap-add SYS_ADMIN
  (Docker on Ubuntu also wants --security-opt apparmor=unconfined)"
    (: <>/dev/fuse) 2>/dev/null || die "/dev/fuse is there but cannot be opened.
  On a machine of your own: sudo chmod 666 /dev/fuse
  In a container: start it with --device /dev/fuse --cap-add SYS_ADMIN"
}

# Set $python to a Python of at least 3.11 that can make virtual environments.
find_python() {
    for python in python3.13 python3.12 python3.11 python3; do
        # Run it: a version manager's shim can exist and lead nowhere.
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null && return
    done
    return 1
}

# As find_python; installs the system's packages if there is none.
require_python() {
    if find_python; then return; fi
    install_packages python3 python3-venv
    if find_python; then return; fi
    install_packages 'python3.13-venv|python3.12-venv|python3.11-venv'
    find_python || die "hingfs needs Python 3.11 or newer with its venv module;
  this machine's $(python3 --version 2>/dev/null || echo 'python3 is missing')"
}

# Make .venv hold hingfs, editable, with an extra ("" for none), unless it already
# does: a stamp remembers the pyproject.toml and the folder it was made for.
make_venv() {
    stamp=$venv/hingfs-installed${1:+-$1}
    now="$(cksum <pyproject.toml) $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && "$venv/bin/python" -c ''; then
        return
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        require_python
        say "making $venv with $python"
        "$python" -m venv --clear "$venv"
    fi
    say "installing hingfs${1:+ and its $1 tools} into $venv"
    # Debian 12's pip warns of fusepy's plain setup.py unless told to build it so.
    PIP_USE_PEP517=1 "$venv/bin/python" -m pip install --quiet \
        --disable-pip-version-check \
        --editable ".${1:+[$1]}" >&2
    printf '%s\n' "$now" >"$stamp"
}
