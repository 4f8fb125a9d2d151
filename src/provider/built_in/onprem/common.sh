{# Functions of the scripts that run on hosts. #}
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

need() {
  for tool in "$@"; do
    command -v "$tool" > /dev/null || missing="$missing $tool"
  done
}

# fetch PATH FILE: from the repository.
fetch() {
  case $repository_url in
    file://*) cp "${repository_url#file://}/$1" "$2" ;;
    *) curl --fail --silent --show-error --location --retry 5 --output "$2" "$repository_url/$1" ;;
  esac || die "cannot fetch $repository_url/$1"
}

# check_sum FILE SHA256
check_sum() {
  sum=$(sha256sum "$1")
  [ "${sum%% *}" = "$2" ] || die "$1 is damaged: its SHA-256 is ${sum%% *}, not $2"
}

# fetch_pkgpanda: the program that installs packages, beside the install root.
fetch_pkgpanda() {
  mkdir -p "${pkgpanda%/*}"
  fetch "programs/$pkgpanda_sha256/pkgpanda" "$pkgpanda.new"
  check_sum "$pkgpanda.new" "$pkgpanda_sha256"
  chmod 755 "$pkgpanda.new"
  mv -f "$pkgpanda.new" "$pkgpanda"
}

# write_flag NAME TEXT
write_flag() {
  printf '%s\n' "$2" > "$flags/$1.new"
  mv -f "$flags/$1.new" "$flags/$1"
}

# bind_late_value NAME COMMAND: adds the command's output as a YAML block, whose first line may begin with spaces.
bind_late_value() {
  value=$(sh -c "$2") || die "cannot find out $1: $2"
  printf '  "%s": |2-\n' "$1"
  printf '%s\n' "$value" | sed 's/^/    /'
}

late_values() {
  printf 'late_bound_package_id: "%s"\nbound_values:\n' "$late_package"
{% for value in late_values %}
  name={{ value.name }}
  command={{ value.written_as }}
  bind_late_value "$name" "$command"
{% endfor %}
}

write_flags() {
  mkdir -p "$flags"
  write_flag repository-url "$repository_url"
  write_flag cluster-package-list "$cluster_package_list"
  rm -f "$flags/late-config.yaml"
  if [ -n "$late_package" ]; then
    values=$(late_values) || exit 1
    write_flag late-config.yaml "$values"
  fi
}
