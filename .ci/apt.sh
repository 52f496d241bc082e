# Sourced by .ci/setup and .ci/run: system packages on Debian and Ubuntu, where this user may
# install them. Nothing here asks a question: without the right, one line says what to run.

# Run a command as root: directly, or by sudo when it needs no password.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Version that apt would install; empty when it knows none.
apt_candidate() {
  command -v apt-cache >/dev/null || return 0
  LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \([0-9].*\)/\1/p'
}

apt_update() {
  echo "Reading the lists of system packages"
  as_root apt-get -q=2 update
}

# apt_install PACKAGE...: the lists are read again only when the first try fails.
apt_install() {
  local log
  local command=(env DEBIAN_FRONTEND=noninteractive apt-get -q=2 -y
    -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@")
  if ! may_install; then
    echo "foreswap: missing system packages; run: sudo apt-get install $*" >&2
    return 1
  fi
  echo "Installing system packages: $*"
  log=$(as_root "${command[@]}" 2>&1) && return 0
  apt_update
  log=$(as_root "${command[@]}" 2>&1) && return 0
  printf '%s\n' "$log" "foreswap: could not install: $*" >&2
  return 1
}
