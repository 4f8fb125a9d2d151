#!/bin/sh
# Fetches the bootstrap and pkgpanda, checks both, and sets up this machine, or a folder: install --root DIR. It
# can be run again: after the first time, it finishes what was cut off.
set -eu
umask 022

bootstrap_url={{ bootstrap_url }}
bootstrap_id={{ bootstrap_id }}
bootstrap_sha256={{ bootstrap_sha256 }}
pkgpanda_url={{ pkgpanda_url }}
pkgpanda_sha256={{ pkgpanda_sha256 }}
signing_key={{ signing_key }}
root=
if [ "${1-}" = --root ]; then root=${2%/}; fi
folder=$root/opt/mesosphere-pkgpanda
installed=$root/opt/mesosphere

# fetch URL FILE SHA256: gives the file its name only if its sum is right.
fetch() {
  curl --fail --silent --show-error --location --retry 20 --retry-delay 5 --output "$2.new" "$1"
  sum=$(sha256sum "$2.new")
  if [ "${sum%% *}" != "$3" ]; then
    printf '%s is damaged: its SHA-256 is %s, not %s\n' "$1" "${sum%% *}" "$3" >&2
    rm -f "$2.new"
    exit 1
  fi
  mv -f "$2.new" "$2"
}

if [ ! -x "$folder/pkgpanda" ]; then
  mkdir -p "$folder"
  fetch "$pkgpanda_url" "$folder/pkgpanda" "$pkgpanda_sha256"
  chmod 755 "$folder/pkgpanda"
fi
if [ ! -e "$installed/active" ] && [ ! -e "$installed/bootstrap" ]; then
  fetch "$bootstrap_url/bootstrap/$bootstrap_id.bootstrap.tar.xz" "$folder/bootstrap.tar.xz" "$bootstrap_sha256"
  rm -rf "$folder/unpacked"
  mkdir "$folder/unpacked"
  tar -xJf "$folder/bootstrap.tar.xz" -C "$folder/unpacked"
  if [ -d "$installed" ]; then rmdir "$installed"; fi
  mv "$folder/unpacked" "$installed"
  rm -f "$folder/bootstrap.tar.xz"
fi
if [ -n "$root" ]; then
  set -- --root "$installed" --repository "$installed/packages" --config-dir "$root/etc/mesosphere" \
    --state-dir-root "$root/var/lib/dcos" --rooted-systemd --no-systemd setup
else
  set -- setup --no-block-systemd
fi
if [ -n "$signing_key" ]; then set -- "$@" --require-signature "$signing_key"; fi
exec "$folder/pkgpanda" "$@"
