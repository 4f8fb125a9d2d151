#!/bin/sh
# Installs the cluster's packages on this machine. Run as root: dcos_install.sh ROLE…
set -eu
umask 022

configured_url={{ bootstrap_url }}
bootstrap_id={{ bootstrap_id }}
bootstrap_sha256={{ bootstrap_sha256 }}
pkgpanda_sha256={{ pkgpanda_sha256 }}
cluster_package_list={{ cluster_package_list }}
late_package={{ late_package }}
active={{ cluster_packages | tojson }}
repository_url=$configured_url
root='' do_preflight=1 do_install=1 block=''
missing='' faults=0

usage() {
  cat << 'END'
Usage: dcos_install.sh [OPTION]… ROLE…

  -d, --disable-preflight   install without the checks before
  -p, --preflight-only      check, and install nothing
  --no-block-dcos-setup     do not wait for services
  --root DIR                install below a folder, and start no service; if root runs this,
                            users that packages need are made on this machine all the same
  --from URL                fetch from this URL instead
  -h, --help                show this

END
  printf 'Roles:'
  known_roles | sed 's/^/ /' | tr -d '\n'
  printf '\n'
}

known_roles() {
  set -- {{ roles }}
  printf '%s\n' "$@"
}

required_commands() {
  set -- {{ required_commands }}
  printf '%s\n' "$@"
}

required_ports() {
  set -- {{ required_ports }}
  printf '%s\n' "$@"
}

{% include "common.sh" %}

fault() {
  printf 'preflight: %s\n' "$1" >&2
  faults=$((faults + 1))
}

# is_taken PORT: true if a socket listens there (state 0A).
is_taken() {
  hex=$(printf '%04X' "$1")
  cat /proc/net/tcp /proc/net/tcp6 2> /dev/null |
    grep -q "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:[0-9A-F]* 0A "
}

preflight() {
  need cat chmod cp grep id mkdir mktemp mv rm rmdir sed sha256sum tar tr xz
  case $repository_url in file://*) ;; *) need curl ;; esac
  if [ -z "$root" ]; then need systemctl useradd; fi
  for tool in $(required_commands); do need "$tool"; done
  for tool in $missing; do fault "the program $tool is missing"; done
  if [ -z "$root" ]; then
    for port in $(required_ports); do
      if is_taken "$port"; then fault "port $port is taken"; fi
    done
  fi
  if [ ! -e "$mark" ] && is_installed; then
    fault "something is installed in $root/opt/mesosphere already"
  fi
  if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then fault "this must be run as root"; fi
  [ "$faults" = 0 ] || die "the preflight found $faults faults; nothing was installed"
}

is_installed() {
  [ -e "$root/opt/mesosphere/active" ] || [ -e "$root/opt/mesosphere/bootstrap" ]
}

check_role() {
  case $1 in
    '' | . | .. | *[!A-Za-z0-9._-]*) die "$1 cannot be the name of a role" ;;
  esac
  known_roles | grep -F -x -q -e "$1" || die "$1 is not a role; roles: $(known_roles | tr '\n' ' ')"
}

# Finishes a setup that was cut off, when the machine starts.
write_unit() {
  mkdir -p /etc/systemd/system
  cat > /etc/systemd/system/dcos-setup.service << 'END'
[Unit]
Description=Pkgpanda: finish setting up this machine
ConditionPathExists=/opt/mesosphere
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/opt/mesosphere-pkgpanda/pkgpanda setup --no-block-systemd
ExecStartPost=/bin/rm -f /opt/mesosphere-pkgpanda/unfinished /etc/mesosphere/setup-flags/active.json

[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload
  systemctl --quiet enable dcos-setup.service
}

unpack_bootstrap() {
  rm -rf "$root/opt/.mesosphere".*
  staging=$(mktemp -d "$root/opt/.mesosphere.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  fetch "bootstrap/$bootstrap_id.bootstrap.tar.xz" "$staging/bootstrap.tar.xz"
  check_sum "$staging/bootstrap.tar.xz" "$bootstrap_sha256"
  mkdir -m 755 "$staging/root"
  tar -xJf "$staging/bootstrap.tar.xz" -C "$staging/root"
  # An empty folder may be there; anything else is not to be lost.
  if [ -d "$root/opt/mesosphere" ]; then
    rmdir "$root/opt/mesosphere" || die "$root/opt/mesosphere is not empty, and no installation left it; move it away"
  fi
  mv "$staging/root" "$root/opt/mesosphere"
  rm -rf "$staging"
  trap - EXIT
}

setup() {
  if [ -n "$root" ]; then
    "$pkgpanda" --root "$root/opt/mesosphere" --repository "$root/opt/mesosphere/packages" \
      --config-dir "$root/etc/mesosphere" --state-dir-root "$root/var/lib/dcos" \
      --rooted-systemd --no-systemd setup
  else
    write_unit
    # shellcheck disable=SC2086  # empty or one option
    "$pkgpanda" $block setup
  fi
}

main() {
  roles=
  while [ $# -gt 0 ]; do
    case $1 in
      -d | --disable-preflight) do_preflight= ;;
      -p | --preflight-only) do_install= ;;
      --no-block-dcos-setup) block=--no-block-systemd ;;
      --root | --from)
        [ $# -gt 1 ] || die "$1 needs a value"
        if [ "$1" = --root ]; then root=${2%/}; else repository_url=$2; fi
        shift
        ;;
      -h | --help)
        usage
        exit 0
        ;;
      -*) die "there is no option $1; see --help" ;;
      *)
        check_role "$1"
        roles="$roles $1"
        ;;
    esac
    shift
  done
  pkgpanda=$root/opt/mesosphere-pkgpanda/pkgpanda
  flags=$root/etc/mesosphere/setup-flags
  # A mark of installations that have begun and not ended.
  mark=$root/opt/mesosphere-pkgpanda/unfinished
  if [ -n "$do_install" ] && [ -z "$roles" ]; then
    usage >&2
    exit 2
  fi
  if [ -n "$do_preflight" ]; then preflight; fi
  if [ -z "$do_install" ]; then
    echo "The preflight found no fault."
    exit 0
  fi
  if is_installed; then
    [ -e "$mark" ] || die "something is installed in $root/opt/mesosphere already"
  else
    mkdir -p "${mark%/*}"
    : > "$mark"
  fi
  if [ -e "$mark" ]; then rm -rf "$root/etc/mesosphere/roles"; fi
  mkdir -p "$root/opt" "$root/var/lib/dcos" "$root/etc/mesosphere/roles"
  for role in $roles; do : > "$root/etc/mesosphere/roles/$role"; done
  write_flags
  fetch_pkgpanda
  if [ -e "$mark" ] && is_installed; then
    # Of an installation that failed, the bootstrap is there, and perhaps the set of another configuration.
    write_flag active.json "$active"
    : > "$root/opt/mesosphere/bootstrap"
  else
    unpack_bootstrap
  fi
  setup
  rm -f "$mark" "$flags/active.json"
  # What comes later comes from where the cluster has its files.
  write_flag repository-url "$configured_url"
}

main "$@"
