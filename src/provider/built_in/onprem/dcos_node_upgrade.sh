#!/bin/sh
# Upgrades this machine to the cluster's packages. Run as root; it can be run again.
set -eu
umask 022

configured_url={{ bootstrap_url }}
repository_url=$configured_url
pkgpanda_sha256={{ pkgpanda_sha256 }}
cluster_package_list={{ cluster_package_list }}
late_package={{ late_package }}
installed_version={{ installed_version }}
version={{ version }}
active={{ cluster_packages | tojson }}
root='' missing=''

{% include "common.sh" %}

# The version that is installed, of the file that the package dcos-metadata brings.
read_version() {
  sed -n 's/^ *"version": "\(.*\)",*$/\1/p' "$root/opt/mesosphere/etc/dcos-version.json"
}

pkgpanda() {
  if [ -n "$root" ]; then
    "$pkgpanda" --root "$root/opt/mesosphere" --repository "$root/opt/mesosphere/packages" \
      --config-dir "$root/etc/mesosphere" --state-dir-root "$root/var/lib/dcos" \
      --rooted-systemd --no-systemd "$@"
  else
    "$pkgpanda" "$@"
  fi
}

main() {
  while [ $# -gt 0 ]; do
    case $1 in
      --root | --from)
        [ $# -gt 1 ] || die "$1 needs a value"
        if [ "$1" = --root ]; then root=${2%/}; else repository_url=$2; fi
        shift
        ;;
      *) die "there is no argument $1; usage: dcos_node_upgrade.sh [--root DIR] [--from URL]" ;;
    esac
    shift
  done
  pkgpanda=$root/opt/mesosphere-pkgpanda/pkgpanda
  flags=$root/etc/mesosphere/setup-flags
  need chmod cp mkdir mv sed sha256sum
  case $repository_url in file://*) ;; *) need curl ;; esac
  [ -z "$missing" ] || die "programs are missing:$missing"
  if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then die "this must be run as root"; fi
  found=$(read_version)
  if [ "$found" = "$version" ]; then
    echo "$version is installed already; making sure that all of it is active."
  elif [ "$found" != "$installed_version" ]; then
    die "$found is installed, and this script upgrades $installed_version"
  fi
  # What comes later comes from where the cluster has its files, however this ends.
  trap 'write_flag repository-url "$configured_url"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  write_flags
  write_flag active.json "$active"
  fetch_pkgpanda
  # With this mark, setup takes the set of active.json, and renders the late package.
  : > "$root/opt/mesosphere/bootstrap"
  pkgpanda setup
  rm -f "$flags/active.json"
  tries=0
  until pkgpanda check; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || die "checks still fail after 300 seconds"
    sleep 5
  done
  echo "$version is installed."
}

main "$@"
