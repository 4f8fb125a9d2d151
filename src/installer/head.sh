#!/bin/sh
# On-premises installer. Everything that it needs is in this file; run it with --help.
trap 'echo "$0: this file is incomplete; download it again" >&2; exit 1' EXIT
check=@CHECK@
# Variant and version of what is in here.
variant=@VARIANT@
version=@VERSION@

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# Removes what was unpacked, however this ends.
clean_up() {
  if [ -n "$folder" ]; then rm -rf "$folder"; fi
}

check_tools() {
  missing=
  for tool in chmod head mktemp rm sed sha256sum tail tr uname wc; do
    command -v "$tool" > /dev/null || missing="$missing $tool"
  done
  [ -z "$missing" ] || die "these programs are missing on this machine:$missing"
}

check_file() {
  size=$(wc -c < "$0" | tr -d ' ')
  wanted=${check#* }
  while [ "$wanted" != "${wanted#0}" ]; do wanted=${wanted#0}; done
  [ "$size" = "$wanted" ] ||
    die "this file is incomplete or altered: it has $size bytes, and should have $wanted; download it again"
  sum=$({ head -c "$head_bytes" "$0" | sed '/^check=/d' && tail -c "+$((head_bytes + 1))" "$0"; } | sha256sum)
  [ "${sum%% *}" = "${check%% *}" ] ||
    die "this file is damaged or altered: its contents do not have the SHA-256 ${check%% *}; download it again"
}

main() {
  trap - EXIT
  folder=''
  # Without leading zeros, which arithmetic takes for octal.
  head_bytes=@HEAD_BYTES@ program_offset=@PROGRAM_OFFSET@ program_bytes=@PROGRAM_BYTES@
  while [ "$head_bytes" != "${head_bytes#0}" ]; do head_bytes=${head_bytes#0}; done
  while [ "$program_offset" != "${program_offset#0}" ]; do program_offset=${program_offset#0}; done
  check_tools
  [ -r "$0" ] || die "this file cannot be read as $0; start it by its path"
  check_file
  machine=@MACHINE@
  [ "$(uname -m)" = "$machine" ] ||
    die "version $version${variant:+ of the variant $variant} is for machines of the type $machine, not $(uname -m)"
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  folder=$(mktemp -d "${TMPDIR:-/tmp}/dcos-installer.XXXXXX") || die "cannot make a temporary folder; set TMPDIR"
  tail -c "+$((program_offset + 1))" "$0" | head -c "$program_bytes" > "$folder/pkgpanda" ||
    die "cannot write to $folder; set TMPDIR to a folder with more space"
  chmod 700 "$folder/pkgpanda"
  "$folder/pkgpanda" --version > /dev/null 2>&1 ||
    die "cannot run programs in $folder; set TMPDIR to a folder that is not mounted noexec"
  status=0
  "$folder/pkgpanda" installer --file "$0" --offset "$head_bytes" -- "$@" || status=$?
  exit "$status"
}

main "$@"
exit
